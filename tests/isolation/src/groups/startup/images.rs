//! Distinct images made from one guest, compiled before anything is measured.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use host::CodeStore;

/// A wasm file whose code is there.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) wasm: PathBuf,
    pub(super) digest: String,
}

/// The store of compiled code that the measured hosts use.
pub(super) fn store(data: &Path, compiler: &Path) -> CodeStore {
    CodeStore::new(data.join("code"), compiler.to_owned())
}

/// So many images that do the same and share nothing: the guest with a different custom section
/// at its end.
///
/// # Errors
/// When a file cannot be written or compiled.
pub(super) async fn distinct(
    guest: &Path,
    count: u32,
    folder: &Path,
    code: &CodeStore,
) -> anyhow::Result<Vec<Image>> {
    let wasm = fs::read(guest).with_context(|| format!("cannot read {}", guest.display()))?;
    fs::create_dir_all(folder)?;
    let mut images = Vec::new();
    for number in 0..count {
        let mut wasm = wasm.clone();
        wasm.extend(custom_section(number));
        let image = Image {
            wasm: folder.join(format!("start-{number}.wasm")),
            digest: engine::cache::digest(&wasm),
        };
        fs::write(&image.wasm, &wasm)?;
        code.code(&image.wasm, &image.digest).await?;
        images.push(image);
    }
    Ok(images)
}

/// A section that means nothing: id 0, its size, a name with its length, a number.
fn custom_section(number: u32) -> Vec<u8> {
    const HEAD: [u8; 7] = [0, 9, 4, b'c', b'o', b'p', b'y'];
    [HEAD.as_slice(), &number.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_section_has_the_size_that_it_tells() {
        let section = custom_section(7);
        assert_eq!(usize::from(section[1]), section.len() - 2);
        assert_eq!(usize::from(section[2]), b"copy".len());
        assert_ne!(section, custom_section(8));
    }
}
