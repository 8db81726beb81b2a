#!/usr/bin/env bash
# On the GPU machine: runs the steps that are named, each within its time. What one needs and is not there is said.
# usage: run.sh STEP=SECONDS...      see ../gpu_calls.md
# KEEP: a folder that stays between the calls. OUT: one that comes back, with a log for each step, and steps.tsv.
# DEVICE: cuda, tensorrt or rtx. MINUTES: of gpu_check. BUNDLE: a model's folder. SIZE: of frames and photos. COPIES: of
# each photo.
# shellcheck disable=SC2329  # the steps are called by the names that are given
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3} device=${DEVICE:-cuda}
mkdir -p "${KEEP:=/tmp/declip-rt}" "${OUT:=results}"
KEEP=$(realpath "$KEEP") OUT=$(realpath "$OUT")
export KEEP OUT PYTHONUNBUFFERED=1
root=$KEEP/source
[ -d "$root" ] || root=$(realpath "$here/../..")
# ONNX Runtime looks for CUDA and cuDNN beside itself alone, not where torch has them.
libraries=$("$python" -c 'import glob, sys; print(*(d for p in sys.path for d in glob.glob(p + "/nvidia/*/lib")), sep=":")')
export PYTHONPATH="$KEEP/ort:$KEEP/codec:$KEEP/site${PYTHONPATH:+:$PYTHONPATH}"
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries"

not_run() {
  echo "not run: $*"
  exit 3
}

facts() {
  nvidia-smi || echo "no nvidia-smi"
  nvcc --version || echo "no nvcc"
  "$python" -m pip list 2> /dev/null | grep -iE 'cuda|cupy|nvidia|numba|onnx|torch'
  ldconfig -p | grep -E 'libcuda|cublas|cudnn|nvjpeg'
  "$python" -m declip_rt doctor
}

install() { # the sources' own package goes, so that the installed one is tested
  [ -e "$KEEP/source.tar.xz" ] || not_run "no source.tar.xz came"
  [ -e "$KEEP/wheels.tar" ] || not_run "no wheels.tar came"
  local pip=("$python" -m pip install --quiet --no-deps --no-index --upgrade --target "$KEEP/site")
  tar xf "$KEEP/source.tar.xz" -C "$KEEP" && tar xf "$KEEP/wheels.tar" -C "$KEEP" || return
  [ ! -e "$KEEP/codec.tar.xz" ] || tar xf "$KEEP/codec.tar.xz" -C "$KEEP" || return
  "${pip[@]}" "$KEEP"/wheels/*.whl && "${pip[@]}" --no-build-isolation "$KEEP/source" || return
  rm -r "$KEEP/source/declip_rt"
  "$python" -c 'from declip_rt import native; print(native.level(), len(native.fatbin())); assert native.fatbin()'
}

tests() { "$python" -m pytest -q -rs tests/gpu; }

views() { "$python" -m benchmarks.gpu_views ${SIZE:+"$SIZE"}; }

sanitize() {
  local test=("$python" -m pytest -q tests/gpu/test_frames.py -k views_are_those_of_the_cpu)
  "${test[@]}" --collect-only || return
  command -v compute-sanitizer || not_run "there is no compute-sanitizer"
  compute-sanitizer --tool memcheck --error-exitcode 9 "${test[@]}" &&
    compute-sanitizer --tool racecheck --error-exitcode 9 "${test[@]}"
}

profile() {
  command -v ncu || not_run "there is no ncu"
  ncu --set basic --kernel-name regex:declip_ --launch-count 12 "$python" -m benchmarks.gpu_views 1920x1080 4000x3000
}

ort() {
  [ -e "$KEEP/ort.tar.xz.0" ] || not_run "no ort.tar.xz.0 came"
  cat "$KEEP"/ort.tar.xz.? | tar xJ -C "$KEEP" && "$python" -m declip_rt doctor
}

parity() { "$python" -m pytest -q -rs tests/gpu -k "$device"; }

decode() {
  local size photo copy decoder photos=$KEEP/photos
  for size in ${SIZE:-500x500 1920x1080 4000x3000}; do
    mkdir -p "$photos/$size"
    "$python" -c 'import sys; from pathlib import Path; from declip_rt.commands.bench import made_up
made_up(Path(sys.argv[1]), *map(int, sys.argv[2].split("x")))' "$photos/$size" "$size" || return
    for photo in "$photos/$size"/?.jpg; do # so that the start does not count
      for copy in $(seq "${COPIES:-100}"); do ln -f "$photo" "${photo%.jpg}-$copy.jpg"; done
    done
  done
  for decoder in cpu gpu; do
    if [ "$decoder" = gpu ]; then
      "$python" -c 'import nvidia.nvimgcodec' || not_run "there is no nvImageCodec, but the CPU's decoder was"
      "$python" -m pytest -q -rs tests/gpu/test_decoder.py || return
    fi
    for size in "$photos"/*; do
      echo "$(basename "$size"), decoded on the $decoder"
      "$python" -m declip_rt score "$size" --device "$device" --decoder "$decoder" --stats --top 1 --out "$OUT/decode.csv" \
        --overwrite || return
    done
  done
}

check() {
  "$python" -m benchmarks.gpu_check --device "$device" --minutes "${MINUTES:-10}" --stress 30 --out "$OUT" \
    --only kernels --only bench --only compiled --only files --only busy --only stress ${BUNDLE:+--bundle "$BUNDLE"}
}

if [ "${1:-}" = step ]; then
  cd "$root" && "$2"
  exit
fi
for each in source.tar.xz wheels.tar codec.tar.xz ort.tar.xz.{0..9}; do
  [ ! -e "$here/$each" ] || cp "$here/$each" "$KEEP"
done
failed=0
for each in "$@"; do
  name=${each%%=*} began=$SECONDS
  timeout --kill-after=5 "${each#*=}" bash "$0" step "$name" > "$OUT/$name.log" 2>&1 < /dev/null
  case $? in
    0) state=passed ;;
    3) state="not run" ;;
    124 | 137) state="out of time" failed=1 ;;
    *) state=failed failed=1 ;;
  esac
  printf '%s\t%s\t%s s\n' "$name" "$state" $((SECONDS - began)) | tee -a "$OUT/steps.tsv"
done
exit $failed
