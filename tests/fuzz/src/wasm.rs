//! Wasm files, as far as they are read before they are compiled.
//!
//! The compiler is not among the targets: it runs in a process of its own, under limits that the
//! kernel keeps.

use image::wasm::Wasm;

pub(crate) fn run(bytes: &[u8]) {
    let read = Wasm::of(bytes);
    #[cfg(feature = "engine")]
    agree(bytes, read.as_ref().ok());
    if let Ok(wasm) = read {
        let _ = (wasm.os(), wasm.worlds());
    }
}

/// Who shows an image and who runs it see the same in it. Who runs it reads types too, and may find
/// them broken.
#[cfg(feature = "engine")]
fn agree(bytes: &[u8], read: Option<&Wasm>) {
    let described = engine::describe::Description::read(bytes).ok();
    assert!(read.is_some() || described.is_none());
    if let (Some(wasm), Some(description)) = (read, described) {
        assert_eq!(wasm.component, description.is_component);
        assert_eq!(wasm.imports, description.imports);
        assert_eq!(wasm.exports, description.exports);
        let _ = description.engine_kind();
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i32)))
          (memory (export \"memory\") 1) (func (export \"_start\") (call 0 (i32.const 1))))",
        "(component (import \"wasi:cli/stdout@0.2.0\" (instance $i))
          (export \"wasi:cli/run@0.2.0\" (instance $i)))",
        "(component (core module (func (export \"f\") (result i32) (i32.const 1)))
          (component (import \"x\" (func))) (core instance (instantiate 0))
          (import \"wasi:http/types@0.3.0\" (instance $t (export \"r\" (type (sub resource)))))
          (export \"wasi:http/handler@0.3.0\" (instance $t)))",
    ];
    let texts = texts
        .iter()
        .map(|text| wat::parse_str(text).expect("a seed"));
    texts.chain([b"\x7fELF".to_vec()]).collect()
}
