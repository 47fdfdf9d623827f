# One image for all of our processes: `saga run gateway|order|payment|worker`.
FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/saga
ENV PATH=/opt/saga/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements-run.lock .
RUN pip install -q --require-hashes --no-deps --only-binary :all: -r requirements-run.lock
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY activities activities
COPY choreography choreography
COPY workflows workflows
COPY api api
COPY audit audit
COPY embedded embedded
COPY metrics metrics
COPY tracing tracing
COPY takeover takeover
COPY stack stack
COPY cli cli
# The build backend is locked, too. The final image has nothing that installs or builds.
RUN pip install -q --no-deps --no-build-isolation . && pip uninstall -q -y setuptools pip

FROM python:3.13-slim
RUN groupadd --system --gid 10001 saga \
 && useradd --system --uid 10001 --gid saga --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin saga
COPY --from=build /opt/saga /opt/saga
ENV PATH=/opt/saga/bin:$PATH PYTHONDONTWRITEBYTECODE=1 SAGA_HOST=0.0.0.0
USER saga
WORKDIR /
ENTRYPOINT ["saga"]
CMD ["--help"]
