# The server in a container: docker build -t otherwise .
# TORCH_INDEX is the address of PyTorch's package index for one kind of device (CPU, or a version of CUDA); without it the
# build of the default index is taken, which on Linux is made for CUDA and large.
FROM python:3.11.14-slim-bookworm AS build
ARG TORCH_INDEX=""
WORKDIR /build
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt requirements-build.txt ./
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c constraints.txt -r requirements-build.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY models models
COPY monailabel_app monailabel_app
RUN pip install -c constraints.txt --no-build-isolation ".[postgresql]"

FROM python:3.11.14-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --home-dir /state --shell /usr/sbin/nologin otherwise \
 && install --directory --owner otherwise --group otherwise --mode 0750 /state /studies
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH HOME=/state MPLCONFIGDIR=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
VOLUME ["/state", "/studies"]
EXPOSE 8000
# Behind a proxy that ends https; with --certificate, ask https:// here. HTTP_PROXY of the container is not for this.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8000/otherwise/health/ready', timeout=8)"]
ENTRYPOINT ["otherwise"]
# It does not start before there is a token: otherwise tokens add NAME --role admin --tokens /state/tokens.txt
CMD ["serve", "--studies", "/studies", "--state", "/state", "--host", "0.0.0.0", "--tokens", "/state/tokens.txt", "--log", "json"]
