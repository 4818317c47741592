# kronos serve on a CPU, as a user without rights:
#   docker build -t kronos . && docker run --rm -p 127.0.0.1:8000:8000 -e KRONOS_TOKEN=at-least-16-characters kronos
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv /opt/kronos \
    && /opt/kronos/bin/pip install -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/kronos/bin/pip install -c constraints.txt ".[serve]"

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 kronos && install -d -o kronos -g kronos /home/kronos/models
COPY --from=build /opt/kronos /opt/kronos
ENV PATH=/opt/kronos/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/kronos
EXPOSE 8000
# Models that are fetched are kept in a volume, if one is mounted here.
ENV HF_HOME=/home/kronos/models
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["kronos", "serve", "--host", "0.0.0.0", "--port", "8000"]
