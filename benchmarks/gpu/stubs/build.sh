#!/bin/bash
# Builds stubs of CUDA's libraries into DIR: they allocate host memory, copy and count, and launch nothing. With them
# onnxruntime's real CUDA provider opens judges where there is no GPU: node placement, kernel choice, copies, launches and
# memory are real; numbers and times are not.
#   bash build.sh DIR INCLUDE    INCLUDE: of the wheels nvidia-cuda-runtime and nvidia-cuda-crt
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
include=$(realpath "$2")
mkdir -p "$1"
cd "$1"
lib() { gcc -shared -fPIC -O1 -w -I"$include" -o "$1" "${@:3}" -Wl,-soname,"$1" ${2:+-Wl,--version-script="$here/$2"}; }
lib libcudart.so.13 cudart.map "$here/cudart.c"
lib libcublas.so.13 cublas.map "$here/cublas.c" "$here/cublasz.c"
lib libcublasLt.so.13 lt.map "$here/lt.c"
lib libcurand.so.10 "" "$here/curand.c"
lib libcuda.so.1 "" "$here/cuda.c"
