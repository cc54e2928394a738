"""The last step before a judge is written: what is stored how, and which kernels compute it."""
