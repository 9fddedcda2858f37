//! What a wasm file is, read from its bytes without compiling it.

mod concurrency;

use serde::{Deserialize, Serialize};
use wasmparser::{Encoding, Parser, Payload};

use crate::config::Kind;

/// The most import and export names kept: a program has dozens, an attack has millions.
const NAMES: usize = 10_000;

/// What a wasm file says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// A component, else a core module.
    pub is_component: bool,
    /// Names of its imports at the top level: interfaces, or modules.
    pub imports: Vec<String>,
    /// Names of its exports at the top level.
    pub exports: Vec<String>,
    /// Whether it, or a component in it, uses what WASI 0.3 is made of: asynchronous functions,
    /// streams, futures.
    pub is_concurrent: bool,
}

/// Bytes that are not wasm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWasm {
    /// The magic bytes are missing.
    #[error("it does not begin with the bytes of a wasm file (\\0asm)")]
    Magic,
    /// It begins like wasm and then breaks off or breaks the format.
    #[error("it is not valid wasm: {0}")]
    Broken(String),
    /// Too many names.
    #[error("it has more than {NAMES} imports or exports")]
    TooMany,
}

// === impl Description ===

impl Description {
    /// Reads the top level of a module or component.
    ///
    /// # Errors
    /// [`NotWasm`] names what is wrong with the bytes.
    pub fn read(wasm: &[u8]) -> Result<Self, NotWasm> {
        if !wasm.starts_with(b"\0asm") {
            return Err(NotWasm::Magic);
        }
        let mut description = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(broken)?;
            // Asked at every depth: what is inside runs in the same store.
            description.is_concurrent |= concurrency::is_used(&payload).map_err(broken)?;
            match payload {
                Payload::Version { encoding, .. } if depth == 0 => {
                    description.is_component = encoding == Encoding::Component;
                    depth += 1;
                }
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                payload if depth == 1 => description.note(payload)?,
                _ => {}
            }
        }
        Ok(description)
    }

    /// The engine configuration that it is compiled for.
    pub fn engine_kind(&self) -> Kind {
        if self.is_concurrent || self.uses_wasi_0_3() {
            Kind::Async
        } else {
            Kind::Sync
        }
    }

    /// Whether any interface of WASI 0.3 is imported or exported.
    fn uses_wasi_0_3(&self) -> bool {
        let is_0_3 = |name: &String| name.starts_with("wasi:") && name.contains("@0.3");
        self.imports.iter().any(is_0_3) || self.exports.iter().any(is_0_3)
    }

    fn note(&mut self, payload: Payload<'_>) -> Result<(), NotWasm> {
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

/// One more name; told when there are too many, and not after all of them are in memory.
fn add(names: &mut Vec<String>, name: &str) -> Result<(), NotWasm> {
    if names.len() >= NAMES {
        return Err(NotWasm::TooMany);
    }
    names.push(name.to_owned());
    Ok(())
}

fn broken(error: wasmparser::BinaryReaderError) -> NotWasm {
    NotWasm::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_needs_is_read_from_it() {
        let p3 = "(component (import \"wasi:clocks/system-clock@0.3.0\" (instance)))";
        let rc = "(component (import \"wasi:cli/stdin@0.3.0-rc-2026-01-06\" (instance)))";
        let runs = "(component (instance $run) (export \"wasi:cli/run@0.3.0\" (instance $run)))";
        for (wat, kind) in [
            ("(module)", Kind::Sync),
            ("(component)", Kind::Sync),
            (
                "(component (import \"wasi:io/poll@0.2.6\" (instance)))",
                Kind::Sync,
            ),
            (p3, Kind::Async),
            (rc, Kind::Async),
            (runs, Kind::Async),
            ("(component (type (stream u8)))", Kind::Async),
            ("(component (import \"own:a/b\" (func async)))", Kind::Async),
        ] {
            let wasm = wat::parse_str(wat).expect(wat);
            let description = Description::read(&wasm).expect(wat);
            assert_eq!(description.engine_kind(), kind, "{wat}");
        }
    }

    #[test]
    fn no_more_names_are_kept_than_there_may_be() {
        let exports = |count: usize| {
            let exports = (0..count).map(|number| format!("(export \"{number}\" (func 0))"));
            let text = format!("(module (func) {})", exports.collect::<String>());
            Description::read(&wat::parse_str(text).expect("a module"))
        };
        assert_eq!(exports(NAMES).map(|it| it.exports.len()), Ok(NAMES));
        assert_eq!(exports(NAMES + 1), Err(NotWasm::TooMany));
    }
}
