//! The program and its maps as an ELF object, the only form in which the loader takes them.
//!
//! Laid out as a compiler for BPF would: code in a section named after the program's type, one
//! symbol for each map, and a relocation wherever the code names one. Nothing of it is ours to
//! choose.

use object::write::{Object, Relocation, SectionId, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope, elf,
};

use super::program::{Map, Program};
use crate::limits::{MAX_LANES, MAX_QUEUES, MAX_STEERED_BLOCKS, MAX_STEERED_ENDPOINTS};

/// The program's name, in the object and in the kernel.
pub(crate) const PROGRAM: &str = "wasmpod_steer";

/// `BPF_F_NO_PREALLOC`: an entry takes memory when it is made, not when the map is.
const ON_DEMAND: u32 = 1;
// Types of maps: linux/bpf.h.
const HASH: u32 = 1;
const SOCKMAP: u32 = 15;

/// The file, ready to be loaded.
///
/// # Errors
/// Never for a program that [`super::program`] made.
pub(crate) fn write(program: &Program) -> Result<Vec<u8>, object::write::Error> {
    let endianness = if cfg!(target_endian = "little") {
        Endianness::Little
    } else {
        Endianness::Big
    };
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, endianness);
    let licence = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(licence, b"Apache-2.0\0", 1);
    let code = object.add_section(Vec::new(), b"sk_lookup".to_vec(), SectionKind::Text);
    object.append_section_data(code, &program.code, 8);
    let length = program.code.len() as u64;
    let place = SymbolSection::Section(code);
    object.add_symbol(symbol(PROGRAM, (0, length), SymbolKind::Text, place));
    let maps = object.add_section(Vec::new(), b"maps".to_vec(), SectionKind::Data);
    for map in [Map::Blocks, Map::Endpoints, Map::Listeners] {
        let definition = map.definition();
        let offset = object.append_section_data(maps, &definition, 4);
        let extent = (offset, definition.len() as u64);
        let place = SymbolSection::Section(maps);
        let id = object.add_symbol(symbol(map.name(), extent, SymbolKind::Data, place));
        let uses = program.maps.iter().filter(|(_, used)| *used == map);
        for (at, _) in uses {
            refer(&mut object, code, *at, id)?;
        }
    }
    object.write()
}

/// Where the loader writes the map's descriptor.
fn refer(
    object: &mut Object<'_>,
    code: SectionId,
    at: u64,
    map: object::write::SymbolId,
) -> Result<(), object::write::Error> {
    let flags = RelocationFlags::Elf {
        r_type: elf::R_BPF_64_64,
    };
    let relocation = Relocation {
        offset: at,
        symbol: map,
        addend: 0,
        flags,
    };
    object.add_relocation(code, relocation)
}

fn symbol(
    name: &str,
    (value, size): (u64, u64),
    kind: SymbolKind,
    section: SymbolSection,
) -> Symbol {
    Symbol {
        name: name.as_bytes().to_vec(),
        value,
        size,
        kind,
        scope: SymbolScope::Linkage,
        weak: false,
        section,
        flags: SymbolFlags::None,
    }
}

// === impl Map ===

impl Map {
    /// Its name in the object and in the kernel.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Endpoints => "endpoints",
            Self::Listeners => "listeners",
        }
    }

    /// `struct bpf_map_def`: type, size of a key, size of a value, entries, flags.
    fn definition(self) -> Vec<u8> {
        let fields = match self {
            Self::Blocks => [HASH, 4, 4, MAX_STEERED_BLOCKS, ON_DEMAND],
            Self::Endpoints => [HASH, 8, 4, MAX_STEERED_ENDPOINTS, ON_DEMAND],
            // Two for each lane: IPv4, then IPv6. Then one for each queue.
            Self::Listeners => [SOCKMAP, 4, 4, MAX_LANES * 2 + MAX_QUEUES, 0],
        };
        fields
            .iter()
            .flat_map(|field| field.to_ne_bytes())
            .collect()
    }
}
