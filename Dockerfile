# The image of the operator: one static binary and nothing else. TLS roots and time zones are compiled into it.
#
# The binary is built outside: cargo's target folder makes that incremental, and no builder image is needed. The build context is
# the folder that holds the binary:
#
#   cargo build --release --locked                 # .cargo/config.toml says that it is static
#   docker build --file Dockerfile --tag torpor:dev "$(hack/binaries release)"
#
# `hack/image torpor:dev torpor.tar` does the same without docker, from this same file.
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Torpor" \
      org.opencontainers.image.description="Hibernates the projects of a Kubernetes cluster and wakes them exactly as they were" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# What `torpor --version` and the User-Agent say.
ENV TORPOR_REVISION="${REVISION}"
COPY torpor /torpor
USER 65532:65532
ENTRYPOINT ["/torpor"]
