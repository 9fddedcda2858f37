//! wasm to machine code. Only `wasmpod-compile` is built with this.

use crate::config::{self, Allocation};
use crate::describe::Description;

/// Compiles a module or component for the configuration that it needs.
///
/// # Errors
/// When it is not valid wasm, or uses a feature that is off.
pub fn compile(wasm: &[u8], description: &Description) -> wasmtime::Result<Vec<u8>> {
    let engine = config::engine(description.engine_kind(), Allocation::OnDemand)?;
    if description.is_component {
        engine.precompile_component(wasm)
    } else {
        engine.precompile_module(wasm)
    }
}
