# A server on a CPU; the judge's folder is mounted:
#   docker build -t lager .
#   docker run -p 8000:8000 -v "$PWD/judges/smollm2:/judge:ro" lager
FROM debian:bookworm-slim

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/lager \
    && useradd --create-home --uid 1000 lager

COPY . /src
RUN /opt/lager/bin/pip install --no-cache-dir --constraint /src/constraints.txt "/src[cpu,serve,parquet]" \
    && rm -r /src

USER 1000
WORKDIR /home/lager
ENV PATH=/opt/lager/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --start-period=2m CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=5)"]
ENTRYPOINT ["lager"]
CMD ["serve", "/judge", "--host", "0.0.0.0"]
