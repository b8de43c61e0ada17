# CUDA by default; the CPU image is the same build with
# --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

# The whole environment is made here and copied, so pip and its files never reach the last stage.
FROM ${PYTHON_IMAGE} AS build
ARG TORCH_INDEX=
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# torch alone and first: only it may come from TORCH_INDEX, and it is the layer that changes least.
# A private index is a secret (`--secret id=pip,src=pip.conf`): it leaves no trace in the image.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install --no-deps -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -c "import tomllib; \
print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > dependencies.txt \
    && pip install -c constraints.txt -r dependencies.txt
COPY README.md LICENSE ./
COPY app app
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install --no-deps . && pip check && pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="slimvec" \
      org.opencontainers.image.description="Serves and trains a reduction layer for embeddings" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
# The entry in passwd gives the number a name and a home that exists on a read-only root.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp \
      --shell /usr/sbin/nologin slimvec \
    && install -d -o 10001 -g 10001 -m 0700 /models
COPY --from=build /venv /venv
# What lies here is copied into a new named volume: the demo model is there on the first start.
COPY --chown=10001:10001 models /models
# HOST: the container is the border; which address is published is said outside it.
# NVIDIA_*: what the NVIDIA runtime reads on a base that is not NVIDIA's own; no effect without it.
ENV PATH=/venv/bin:$PATH \
    SLIMVEC_HOST=0.0.0.0 \
    SLIMVEC_PORT=8000 \
    SLIMVEC_MODELS_DIR=/models \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
VOLUME ["/models"]
EXPOSE 8000
STOPSIGNAL SIGTERM
# http.client, because urllib would ask a proxy from the environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/venv/bin/python", "-I", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['SLIMVEC_PORT']), timeout=4); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]
# -I: no code from the working directory, PYTHONPATH or a home; -B: nothing written beside the code;
# -u: a record is out when it is written. Exec form: SIGTERM reaches the server, not a shell.
ENTRYPOINT ["/venv/bin/python", "-IBu", "/venv/bin/slimvec"]
CMD ["serve"]
