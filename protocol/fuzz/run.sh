#!/bin/bash
# Fuzzes every decoder for a bounded time each: run.sh [SECONDS] [TARGET...]
# Works with the installed stable toolchain and without cargo-fuzz; needs a C++
# compiler for libFuzzer. Starts from seeds/, keeps new inputs in corpus/, so
# that each run goes on from the last, and leaves what fails in artifacts/.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || for file in fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done

build=${CARGO_TARGET_DIR:-$PWD/target}
triple=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz passes, too. AddressSanitizer would need a nightly toolchain;
# the decoders have no unsafe code that it could watch.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags="$flags -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags="$flags -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
CARGO_TARGET_DIR=$build CARGO_ENCODED_RUSTFLAGS="${flags// /$'\x1f'}" \
    cargo build --release --target "$triple" --bins

mkdir -p artifacts
failed=()
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    log=artifacts/$target.log
    if "$build/$triple/release/$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 \
        -malloc_limit_mb=256 -max_len=8192 -print_final_stats=1 -verbosity=0 -artifact_prefix="artifacts/$target-" \
        "corpus/$target" "seeds/$target" >"$log" 2>&1; then
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: //p' "$log") inputs in $seconds s, none failed"
    else
        failed+=("$target")
        echo "$target: FAILED"
        tail -n 40 "$log"
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}; the inputs are in protocol/fuzz/artifacts" >&2
    exit 1
fi
