#!/bin/sh
# Builds the image with the first engine found: build.sh [cuda|cpu] [options of the engine].
# ENGINE, TORCH_INDEX and TAG say otherwise.
set -eu
variant=${1:-cuda}
[ "$#" -eq 0 ] || shift
cd "$(dirname "$0")/../.."

case $variant in
cuda) torch_index=${TORCH_INDEX:-} ;;
cpu) torch_index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu} ;;
*)
    echo "expected cuda or cpu, got '$variant'" >&2
    exit 2
    ;;
esac

for engine in ${ENGINE:-docker podman buildah}; do
    command -v "$engine" >/dev/null && break
    engine=
done
# Podman and buildah write the OCI format unless told, and that has no health check.
case $engine in
docker) ;;
podman | buildah) set -- --format docker "$@" ;;
*)
    echo "no engine to build with; install docker, podman or buildah" >&2
    exit 2
    ;;
esac
exec "$engine" build --build-arg "TORCH_INDEX=$torch_index" \
    --tag "${TAG:-slimvec:$variant}" "$@" --file Dockerfile .
