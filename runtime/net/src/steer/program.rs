//! The program that the kernel asks where a connection leads: instructions, assembled here.
//!
//! ```text
//! address in no claimed block            PASS           as if this program did not exist
//! endpoint not in the map                DROP           refused: a reset, or "port unreachable"
//! endpoint marked for the kernel         PASS           a socket of its own is bound there
//! endpoint marked with a listener        assign, PASS   that listener gets the connection
//! ```
//!
//! It is a `BPF_PROG_TYPE_SK_LOOKUP` program (Linux 5.9): the kernel runs it where it looks for a
//! listening or unconnected socket, so packets of connections that exist never meet it. Written as
//! instructions because a build must need no compiler for BPF; `object` wraps them for the loader.

use std::ops::RangeInclusive;

use crate::range::{PODS_V6, PodRange};

/// A map that the program reads, by its name in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Map {
    /// First address of each claimed block, as a number: `u32` to nothing of interest.
    Blocks,
    /// What is open: [`key`] to the number of a listener, or [`TO_KERNEL`].
    Endpoints,
    /// Listeners by their numbers.
    Listeners,
}

/// The value of an endpoint that a socket of its own serves.
pub(crate) const TO_KERNEL: u32 = u32::MAX;

// netinet/in.h, sys/socket.h
pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

/// A finished program.
#[derive(Debug)]
pub(crate) struct Program {
    /// Eight bytes for each instruction, as the kernel takes them.
    pub(crate) code: Vec<u8>,
    /// Where in `code` a map must be named, and which.
    pub(crate) maps: Vec<(u64, Map)>,
}

/// One instruction: linux/bpf.h, `struct bpf_insn`.
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    value: i32,
}

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    V6,
    Addressed,
    Pass,
    Drop,
}

#[derive(Debug, Default)]
struct Assembler {
    instructions: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
    maps: Vec<(usize, Map)>,
}

// Operations: class, size and source in one byte, as linux/bpf.h composes them.
const LOAD_32: u8 = 0x61;
const STORE_32: u8 = 0x63;
const STORE_64: u8 = 0x7b;
const LOAD_MAP: u8 = 0x18;
const COPY_64: u8 = 0xbf;
const COPY_32: u8 = 0xbc;
const SET_64: u8 = 0xb7;
const ADD_64: u8 = 0x07;
const OR_64: u8 = 0x4f;
const SHIFT_LEFT_64: u8 = 0x67;
const AND_32: u8 = 0x54;
const TO_BIG_ENDIAN: u8 = 0xdc;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const JUMP_IF_EQUAL_32: u8 = 0x16;
const JUMP_IF_NOT_EQUAL_32: u8 = 0x56;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

// Functions of the kernel, by their numbers.
const MAP_LOOKUP_ELEM: i32 = 1;
const SK_RELEASE: i32 = 86;
const SK_ASSIGN: i32 = 124;

// Registers: results, arguments, what calls keep, and the stack.
const RESULT: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;
const THIRD: u8 = 3;
const CONTEXT: u8 = 6;
const FAMILY: u8 = 7;
const ENDPOINT: u8 = 8;
const LISTENER: u8 = 9;
const STACK: u8 = 10;

// Offsets in `struct bpf_sk_lookup`. Addresses are in network order, the port in the host's.
const AT_FAMILY: i16 = 8;
const AT_PROTOCOL: i16 = 12;
const AT_LOCAL_V4: i16 = 40;
const AT_LOCAL_V6: i16 = 44;
const AT_LOCAL_PORT: i16 = 60;

// Places on the stack.
const NUMBER: i16 = -4;
const KEY: i16 = -16;

const DROP: i32 = 0;
const PASS: i32 = 1;

/// What stands for an endpoint in the map. `address` is the pod's IPv4 address for both families.
pub(crate) fn key(address: u32, port: u16, protocol: u8, family: u8) -> u64 {
    let place = (u64::from(address) << 32) | (u64::from(port) << 16);
    place | (u64::from(protocol) << 8) | u64::from(family)
}

/// All keys of endpoints at an address.
pub(crate) fn keys_at(address: u32) -> RangeInclusive<u64> {
    let first = u64::from(address) << 32;
    first..=first | u64::from(u32::MAX)
}

/// The program for the blocks of a range.
pub(crate) fn assemble(range: &PodRange) -> Program {
    let mut asm = Assembler::default();
    asm.put(COPY_64, CONTEXT, FIRST, 0, 0);
    asm.put(LOAD_32, FAMILY, CONTEXT, AT_FAMILY, 0);
    asm.jump(JUMP_IF_EQUAL, FAMILY, AF_INET6.into(), Label::V6);
    asm.jump(JUMP_IF_NOT_EQUAL, FAMILY, AF_INET.into(), Label::Pass);
    asm.put(LOAD_32, ENDPOINT, CONTEXT, AT_LOCAL_V4, 0);
    asm.jump(JUMP, 0, 0, Label::Addressed);
    asm.label(Label::V6);
    // The last four bytes of a pod's IPv6 address are its IPv4 address.
    let mut at = AT_LOCAL_V6;
    for prefix in PODS_V6.chunks_exact(2) {
        asm.put(LOAD_32, THIRD, CONTEXT, at, 0);
        let bytes: Vec<u8> = prefix.iter().flat_map(|part| part.to_be_bytes()).collect();
        let word = bytes.first_chunk().copied().map_or(0, i32::from_ne_bytes);
        asm.jump(JUMP_IF_NOT_EQUAL_32, THIRD, word, Label::Pass);
        at += 4;
    }
    asm.put(LOAD_32, ENDPOINT, CONTEXT, at, 0);
    asm.label(Label::Addressed);
    asm.put(TO_BIG_ENDIAN, ENDPOINT, 0, 0, 32);
    in_block(&mut asm, range);
    find_endpoint(&mut asm);
    assign(&mut asm);
    asm.label(Label::Pass);
    asm.put(SET_64, RESULT, 0, 0, PASS);
    asm.put(EXIT, 0, 0, 0, 0);
    asm.label(Label::Drop);
    asm.put(SET_64, RESULT, 0, 0, DROP);
    asm.put(EXIT, 0, 0, 0, 0);
    asm.finish()
}

/// Lets everything pass that is for no claimed block; most of it before any look-up.
fn in_block(asm: &mut Assembler, range: &PodRange) {
    asm.put(COPY_32, THIRD, ENDPOINT, 0, 0);
    asm.put(AND_32, THIRD, 0, 0, bits(range.mask()));
    let first = bits(range.first.to_bits());
    asm.jump(JUMP_IF_NOT_EQUAL_32, THIRD, first, Label::Pass);
    asm.put(COPY_32, THIRD, ENDPOINT, 0, 0);
    asm.put(AND_32, THIRD, 0, 0, bits(range.block_mask()));
    asm.put(STORE_32, STACK, THIRD, NUMBER, 0);
    asm.look_up(Map::Blocks, NUMBER);
    asm.jump(JUMP_IF_EQUAL, RESULT, 0, Label::Pass);
}

/// Leaves the number of a listener on the stack.
fn find_endpoint(asm: &mut Assembler) {
    asm.put(SHIFT_LEFT_64, ENDPOINT, 0, 0, 32);
    for (field, shift) in [(AT_LOCAL_PORT, 16), (AT_PROTOCOL, 8)] {
        asm.put(LOAD_32, THIRD, CONTEXT, field, 0);
        asm.put(SHIFT_LEFT_64, THIRD, 0, 0, shift);
        asm.put(OR_64, ENDPOINT, THIRD, 0, 0);
    }
    asm.put(OR_64, ENDPOINT, FAMILY, 0, 0);
    asm.put(STORE_64, STACK, ENDPOINT, KEY, 0);
    asm.look_up(Map::Endpoints, KEY);
    asm.jump(JUMP_IF_EQUAL, RESULT, 0, Label::Drop);
    asm.put(LOAD_32, THIRD, RESULT, 0, 0);
    asm.jump(JUMP_IF_EQUAL_32, THIRD, bits(TO_KERNEL), Label::Pass);
    asm.put(STORE_32, STACK, THIRD, NUMBER, 0);
}

/// Gives the connection to the listener. A look-up there takes a reference that must be given back.
fn assign(asm: &mut Assembler) {
    asm.look_up(Map::Listeners, NUMBER);
    asm.jump(JUMP_IF_EQUAL, RESULT, 0, Label::Drop);
    asm.put(COPY_64, LISTENER, RESULT, 0, 0);
    asm.put(COPY_64, FIRST, CONTEXT, 0, 0);
    asm.put(COPY_64, SECOND, LISTENER, 0, 0);
    asm.put(SET_64, THIRD, 0, 0, 0);
    asm.put(CALL, 0, 0, 0, SK_ASSIGN);
    asm.put(COPY_64, FAMILY, RESULT, 0, 0);
    asm.put(COPY_64, FIRST, LISTENER, 0, 0);
    asm.put(CALL, 0, 0, 0, SK_RELEASE);
    asm.jump(JUMP_IF_NOT_EQUAL, FAMILY, 0, Label::Drop);
}

/// The same 32 bits as the kernel's type for them.
fn bits(value: u32) -> i32 {
    value.cast_signed()
}

// === impl Assembler ===

impl Assembler {
    fn put(&mut self, code: u8, to: u8, from: u8, offset: i16, value: i32) {
        self.instructions.push(Instruction {
            code,
            to,
            from,
            offset,
            value,
        });
    }

    fn jump(&mut self, code: u8, compared: u8, value: i32, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.put(code, compared, 0, 0, value);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.instructions.len()));
    }

    /// Leaves in `RESULT` where the value lies of the key at a place on the stack, or 0.
    fn look_up(&mut self, map: Map, key: i16) {
        self.maps.push((self.instructions.len(), map));
        // Two instructions long: the loader writes the map's descriptor into the first.
        self.put(LOAD_MAP, FIRST, 0, 0, 0);
        self.put(0, 0, 0, 0, 0);
        self.put(COPY_64, SECOND, STACK, 0, 0);
        self.put(ADD_64, SECOND, 0, 0, key.into());
        self.put(CALL, 0, 0, 0, MAP_LOOKUP_ELEM);
    }

    fn finish(mut self) -> Program {
        for (at, label) in self.jumps {
            let target = self.labels.iter().find(|(known, _)| *known == label);
            let distance = target.map_or(0, |(_, target)| target.wrapping_sub(at + 1));
            if let Some(jump) = self.instructions.get_mut(at) {
                // A program has some seventy instructions, and jumps forward only.
                jump.offset = i16::try_from(distance).unwrap_or(i16::MAX);
            }
        }
        let code = self.instructions.iter().flat_map(Instruction::encode);
        let maps = self.maps.iter();
        Program {
            code: code.collect(),
            maps: maps.map(|(at, map)| (*at as u64 * 8, *map)).collect(),
        }
    }
}

// === impl Instruction ===

impl Instruction {
    fn encode(&self) -> [u8; 8] {
        let registers = if cfg!(target_endian = "little") {
            (self.from << 4) | self.to
        } else {
            (self.to << 4) | self.from
        };
        let [o0, o1] = self.offset.to_ne_bytes();
        let [v0, v1, v2, v3] = self.value.to_ne_bytes();
        [self.code, registers, o0, o1, v0, v1, v2, v3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the verifier would refuse with a message that names a number: jumps out of the program,
    /// and maps named elsewhere than where one is loaded.
    #[test]
    fn jumps_and_maps_are_where_they_should_be() {
        let program = assemble(&PodRange::LOOPBACK);
        let code: Vec<&[u8]> = program.code.chunks(8).collect();
        let offset = |at: usize| i16::from_ne_bytes([code[at][2], code[at][3]]);
        let mut jumps = 0;
        for (at, instruction) in code.iter().enumerate() {
            let class = instruction[0] & 0x07;
            if (class == 0x05 || class == 0x06) && ![CALL, EXIT].contains(&instruction[0]) {
                jumps += 1;
                let target = at + 1 + usize::try_from(offset(at)).unwrap();
                assert!(target < code.len(), "instruction {at} jumps to {target}");
            }
        }
        assert_eq!(jumps, 12);
        let maps: Vec<Map> = program.maps.iter().map(|(_, map)| *map).collect();
        assert_eq!(maps, [Map::Blocks, Map::Endpoints, Map::Listeners]);
        for (at, map) in program.maps {
            let at = usize::try_from(at).unwrap() / 8;
            assert_eq!(code[at][0], LOAD_MAP, "{map:?}");
        }
        assert_eq!(code.last().unwrap()[0], EXIT);
    }

    #[test]
    fn every_part_of_an_endpoint_is_in_its_key() {
        let keys = [
            key(0x7f40_0002, 80, 6, AF_INET),
            key(0x7f40_0003, 80, 6, AF_INET),
            key(0x7f40_0002, 81, 6, AF_INET),
            key(0x7f40_0002, 80, 17, AF_INET),
            key(0x7f40_0002, 80, 6, AF_INET6),
        ];
        assert_eq!(keys[0], 0x7f40_0002_0050_0602);
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
