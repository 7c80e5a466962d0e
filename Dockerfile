# The image of the operator: one static binary and nothing else. TLS roots and time zones are compiled into it.
#
# The binary is built outside, because then the image holds exactly what was tested, cargo's target folder makes it
# incremental, and it needs no builder image. The build context is the folder that holds the binary:
#
#   target=$(rustc -vV | sed -n 's/^host: //p')
#   RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$target" --bin torpor
#   docker build --file Dockerfile --tag torpor:dev "target/$target/release"
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
COPY torpor /torpor
USER 65532:65532
ENTRYPOINT ["/torpor"]
