# shellcheck shell=bash
# Sourced by the benches: what they need, release builds of what is measured, and where results go.
#
# run_bench TEST     a test below fleet:: in tests/it
. tests/prepare.sh
prepare benches build lab benches
find_cargo benches
cargo build --release --locked --bins --example tool
mkdir -p target/fleet
export CERTCAST_TEST_PROGRAM=$PWD/target/release/certcast CERTCAST_FLEET_TOOL=$PWD/target/release/examples/tool
export CERTCAST_FLEET_RESULTS=$PWD/target/fleet

run_bench() {
    ./tests/run --test it -- --ignored --nocapture --test-threads 1 "fleet::$1"
}
