//! `cargo bench -p isolation [-- GROUP... | --quick]`; everything is in the library, where it has
//! tests.

fn main() -> anyhow::Result<()> {
    isolation::run()
}
