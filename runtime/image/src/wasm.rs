//! What a wasm file says about itself, read from its bytes: what its artifact's configuration tells,
//! and what `inspect` shows. Nothing is validated here and nothing compiled.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Serialize;
use wasmparser::{Encoding, Parser, Payload};

use crate::limits;

/// The most names kept: a program has dozens, an attack has millions.
const NAMES: usize = 10_000;

/// A wasm file's outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wasm {
    /// A component, else a core module.
    pub component: bool,
    /// Interfaces, or modules, that it wants.
    pub imports: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
}

/// A file that is no wasm.
#[derive(Debug, thiserror::Error)]
pub enum WasmError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// Larger than any program.
    #[error("it is larger than {} MiB", limits::WASM >> 20)]
    TooLarge,
    /// It begins otherwise.
    #[error("it is not wasm: it does not begin with \\0asm")]
    Magic,
    /// It is the output of a compiler.
    #[error("it is compiled code of an engine: compiled code is never taken, name the wasm file")]
    Compiled,
    /// It begins like wasm and then breaks the format.
    #[error("it is not valid wasm: {0}")]
    Broken(String),
    /// Too many names.
    #[error("it has more than {NAMES} imports or exports")]
    TooMany,
}

// === impl Wasm ===

impl Wasm {
    /// Reads a file's bytes, and what they say.
    ///
    /// # Errors
    /// [`WasmError`]: what is wrong with it.
    pub fn read(file: File) -> Result<(Self, Vec<u8>), WasmError> {
        let mut bytes = Vec::new();
        file.take(limits::WASM + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limits::WASM {
            return Err(WasmError::TooLarge);
        }
        Ok((Self::of(&bytes)?, bytes))
    }

    /// The same of a path.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn open(path: &Path) -> Result<(Self, Vec<u8>), WasmError> {
        Self::read(File::open(path)?)
    }

    /// What these bytes say at their top level.
    ///
    /// # Errors
    /// [`WasmError`]: what is wrong with them.
    pub fn of(bytes: &[u8]) -> Result<Self, WasmError> {
        if bytes.starts_with(b"\x7fELF") {
            return Err(WasmError::Compiled);
        }
        if !bytes.starts_with(b"\0asm") {
            return Err(WasmError::Magic);
        }
        let mut wasm = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(broken)? {
                Payload::Version { encoding, .. } => {
                    if depth == 0 {
                        wasm.component = encoding == Encoding::Component;
                    }
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                payload if depth == 1 => wasm.note(payload)?,
                _ => {}
            }
        }
        Ok(wasm)
    }

    /// Which WASI it is for, as platforms name it.
    pub fn os(&self) -> &'static str {
        let names = || self.imports.iter().chain(&self.exports);
        let uses =
            |version: &str| names().any(|it| it.starts_with("wasi:") && it.contains(version));
        match self.component {
            true if uses("@0.3") => "wasip3",
            true => "wasip2",
            false => "wasip1",
        }
    }

    /// The worlds that its exports make it fit for: what can be done with it.
    pub fn worlds(&self) -> Vec<String> {
        let mut worlds = Vec::new();
        for export in &self.exports {
            let (interface, version) = export.split_once('@').unwrap_or((export, ""));
            let world = match interface {
                "wasi:cli/run" => "wasi:cli/command",
                "wasi:http/incoming-handler" => "wasi:http/proxy",
                "wasi:http/handler" => "wasi:http/service",
                _ => continue,
            };
            worlds.push(
                format!("{world}@{version}")
                    .trim_end_matches('@')
                    .to_owned(),
            );
        }
        if !self.component && self.exports.iter().any(|export| export == "_start") {
            worlds.push("WASI preview 1 command".to_owned());
        }
        worlds
    }

    fn note(&mut self, payload: Payload<'_>) -> Result<(), WasmError> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let module = import.map_err(broken)?.module;
                    if self.imports.last().is_none_or(|last| last != module) {
                        add(&mut self.imports, module)?;
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    add(&mut self.exports, export.map_err(broken)?.name)?;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    add(&mut self.imports, import.map_err(broken)?.name.name)?;
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    add(&mut self.exports, export.map_err(broken)?.name.name)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn add(names: &mut Vec<String>, name: &str) -> Result<(), WasmError> {
    if names.len() >= NAMES {
        return Err(WasmError::TooMany);
    }
    names.push(name.to_owned());
    Ok(())
}

fn broken(error: wasmparser::BinaryReaderError) -> WasmError {
    WasmError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assembled(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("a module")
    }

    #[test]
    fn modules_and_components_tell_what_they_are_for() {
        let module = assembled(
            "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i32)))
              (import \"wasi_snapshot_preview1\" \"fd_write\" (func)) (func (export \"_start\")))",
        );
        let component = |import: &str, export: &str| {
            assembled(&format!(
                "(component (import \"{import}\" (instance $i)) (export \"{export}\" (instance $i)))"
            ))
        };
        let command = component("wasi:io/streams@0.2.0", "wasi:cli/run@0.2.0");
        let service = component("wasi:http/types@0.3.0", "wasi:http/handler@0.3.0");
        let cases = [
            (module, "wasip1", "WASI preview 1 command", 1),
            (command, "wasip2", "wasi:cli/command@0.2.0", 1),
            (service, "wasip3", "wasi:http/service@0.3.0", 1),
        ];
        for (bytes, os, world, imports) in cases {
            let wasm = Wasm::of(&bytes).expect("wasm");
            assert_eq!(
                (wasm.os(), wasm.worlds(), wasm.imports.len()),
                (os, vec![world.to_owned()], imports)
            );
        }
        assert!(matches!(Wasm::of(b"\x7fELF"), Err(WasmError::Compiled)));
        assert!(matches!(Wasm::of(b"#!/bin/sh"), Err(WasmError::Magic)));
        assert!(matches!(Wasm::of(b"\0asm"), Err(WasmError::Broken(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), component: bool) {
            let version: &[u8] = if component { &[0x0d, 0, 1, 0] } else { &[1, 0, 0, 0] };
            let _ = Wasm::of(&[b"\0asm", version, &bytes].concat());
        }
    }
}
