//! What a wasm file is, read from its bytes without compiling it.

use serde::{Deserialize, Serialize};
use wasmparser::{Encoding, Parser, Payload};

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
            match payload.map_err(broken)? {
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

    /// Whether any interface of WASI 0.3 is imported or exported.
    pub fn uses_wasi_0_3(&self) -> bool {
        let is_0_3 = |name: &String| name.starts_with("wasi:") && name.contains("@0.3");
        self.imports.iter().any(is_0_3) || self.exports.iter().any(is_0_3)
    }

    fn note(&mut self, payload: Payload<'_>) -> Result<(), NotWasm> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let module = import.map_err(broken)?.module.to_owned();
                    if self.imports.last() != Some(&module) {
                        self.imports.push(module);
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    self.exports.push(export.map_err(broken)?.name.to_owned());
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.imports
                        .push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    self.exports
                        .push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
        if self.imports.len() > NAMES || self.exports.len() > NAMES {
            return Err(NotWasm::TooMany);
        }
        Ok(())
    }
}

fn broken(error: wasmparser::BinaryReaderError) -> NotWasm {
    NotWasm::Broken(error.to_string())
}
