# vapi in one image: the virtual environment of a build stage on a plain Python.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
RUN python -m venv /opt/vapi
COPY pyproject.toml README.md LICENSE /src/
COPY vapi /src/vapi
COPY storage /src/storage
COPY sync /src/sync
RUN --mount=type=cache,target=/root/.cache/pip /opt/vapi/bin/pip install --quiet /src
# Only the newest schemas are read; the package brings 13 releases of them, 70 MB.
RUN find /opt/vapi/lib/python3*/site-packages/kubernetes_validate/kubernetes-json-schema -mindepth 1 -maxdepth 1 \
      ! -name 'v1.37.0-local' -exec rm -rf {} + \
 && find /opt/vapi/lib/python3*/site-packages/kubernetes_validate/kubernetes-json-schema/v1.37.0-local \
      -name '*.json' ! -name '_definitions.json' -delete \
 && /opt/vapi/bin/python -m compileall -q /opt/vapi/lib || true

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/vapi /opt/vapi
ENV PATH=/opt/vapi/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VAPI_DATA_DIR=/data \
    VAPI_HOST=in-cluster \
    VAPI_LISTEN=0.0.0.0:8443
# Any uid works: nothing but /data is written, and the root file system may be read-only.
USER 65532:65532
VOLUME /data
EXPOSE 8443
ENTRYPOINT ["vapi"]
CMD ["serve"]
