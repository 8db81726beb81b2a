#!/usr/bin/env bash
# On a machine with a network: packs what a GPU machine without one lacks, as files of at most 30 MiB.
# usage: benchmarks/gpu_calls/pack.sh FOLDER [ARCHITECTURE, as 90] [PYTHON, as 3.12]
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$1"
out=$(realpath "$1") architecture=${2:-90} python=${3:-3.12}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # FOLDER PACKAGE...: wheels, without what they depend on
  local folder=$1 platforms=() number
  shift
  for number in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${number}_x86_64"); done
  python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version "$python" \
    "${platforms[@]}" --platform manylinux2014_x86_64 --dest "$folder" "$@"
}

# The sources. The text tower stays behind, as it is half of them: the embedded model opens without.
git archive HEAD . ':!docs' ':!benchmarks/results' | tar x -C "$work" --one-top-level=source
python3 - "$work/source/declip_rt/model/embedded/declip-tiny" << 'END'
import json, pathlib, sys

folder = pathlib.Path(sys.argv[1])
manifest = json.loads((folder / "bundle.json").read_text())
del manifest["text"]
(folder / "bundle.json").write_text(json.dumps(manifest))
(folder / "text.onnx").unlink()
END
tar c -C "$work" source | xz -6 > "$out/source.tar.xz"

# What such a machine lacks beside torch, or has in a version that is too old.
fetch "$work/wheels" simplejpeg msgspec platformdirs open_clip_torch ftfy wcwidth openpyxl et_xmlfile \
  cuda-core cuda-bindings cuda-pathfinder nvidia-ml-py
tar c -C "$work" wheels > "$out/wheels.tar"

# nvImageCodec with nvJPEG, for this Python, without the codecs that are not of JPEG.
fetch "$work" nvidia-nvimgcodec-cu13 nvidia-nvjpeg
for wheel in "$work"/nvidia_*.whl; do unzip -q "$wheel" -d "$work/codec"; done
find "$work/codec" -name 'nvimgcodec_impl.*' ! -name "*cpython-${python/./}-*" -delete
find "$work/codec" \( -name 'libopencv_ext*' -o -name 'libnvjpeg2k_ext*' -o -name 'libnvtiff_ext*' -o -name 'libtiff_ext*' \) -delete
tar c -C "$work" codec | xz -6 > "$out/codec.tar.xz"

# ONNX Runtime, with the code for one architecture.
fetch "$work" onnxruntime-gpu
unzip -q "$work"/onnxruntime_gpu-*.whl -d "$work/ort"
rm "$work"/ort/onnxruntime/capi/libonnxruntime_providers_tensorrt.so
python3 benchmarks/gpu_calls/one_architecture.py "$work/ort/onnxruntime/capi/libonnxruntime_providers_cuda.so" "$architecture"
tar c -C "$work" ort | xz -6 -T0 | split -b 25M -d -a 1 - "$out/ort.tar.xz."

cp benchmarks/gpu_calls/run.sh "$out"
ls -l "$out"
