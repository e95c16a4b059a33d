//! A builder of BTF, for tests.

use std::sync::Arc;

use super::{Types, kind};

/// BTF to which types are added.
#[derive(Default)]
pub(crate) struct Btf {
    types: Vec<u32>,
    strings: Vec<u8>,
    count: u32,
}

impl Btf {
    pub(crate) fn new() -> Self {
        Self { strings: vec![0], ..Self::default() }
    }

    /// Adds a string and returns its offset.
    pub(crate) fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len();
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        u32::try_from(at).unwrap()
    }

    /// Adds a type of any kind and returns its id.
    pub(crate) fn add(
        &mut self,
        name: &str,
        kind: u32,
        flag: bool,
        count: usize,
        size_or_type: u32,
        tail: &[u32],
    ) -> u32 {
        let name = self.string(name);
        let info = u32::from(flag) << 31 | kind << 24 | u32::try_from(count).unwrap();
        self.types.extend_from_slice(&[name, info, size_or_type]);
        self.types.extend_from_slice(tail);
        self.count += 1;
        self.count
    }

    pub(crate) fn int(&mut self, name: &str, size: u32, signed: bool) -> u32 {
        self.add(name, kind::INT, false, 0, size, &[(u32::from(signed) << 24) | (size * 8)])
    }

    pub(crate) fn pointer(&mut self, to: u32) -> u32 {
        self.add("", kind::PTR, false, 0, to, &[])
    }

    pub(crate) fn array(&mut self, element: u32, index: u32, count: u32) -> u32 {
        self.add("", kind::ARRAY, false, 0, 0, &[element, index, count])
    }

    pub(crate) fn typedef(&mut self, name: &str, to: u32) -> u32 {
        self.add(name, kind::TYPEDEF, false, 0, to, &[])
    }

    /// Adds a struct. Each member has a name, a type and an offset in bits.
    pub(crate) fn structure(&mut self, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let tail = self.members(members);
        self.add(name, kind::STRUCT, false, members.len(), size, &tail)
    }

    pub(crate) fn union(&mut self, name: &str, size: u32, members: &[(&str, u32)]) -> u32 {
        let all: Vec<_> = members.iter().map(|&(name, ty)| (name, ty, 0)).collect();
        let tail = self.members(&all);
        self.add(name, kind::UNION, false, members.len(), size, &tail)
    }

    /// Adds a struct with bitfields. Each member has a name, a type, an offset in bits and, if it is a bitfield, a size in bits.
    pub(crate) fn bitfields(&mut self, name: &str, size: u32, members: &[(&str, u32, u32, u32)]) -> u32 {
        let all: Vec<_> = members.iter().map(|&(name, ty, offset, bits)| (name, ty, (bits << 24) | offset)).collect();
        let tail = self.members(&all);
        self.add(name, kind::STRUCT, true, members.len(), size, &tail)
    }

    pub(crate) fn enumeration(&mut self, name: &str, signed: bool, values: &[(&str, i32)]) -> u32 {
        let tail: Vec<u32> = values
            .iter()
            .flat_map(|&(name, value)| [self.string(name), u32::from_ne_bytes(value.to_ne_bytes())])
            .collect();
        self.add(name, kind::ENUM, signed, values.len(), 4, &tail)
    }

    pub(crate) fn enumeration64(&mut self, name: &str, values: &[(&str, u64)]) -> u32 {
        let half = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap();
        let tail: Vec<u32> =
            values.iter().flat_map(|&(name, value)| [self.string(name), half(value), half(value >> 32)]).collect();
        self.add(name, kind::ENUM64, false, values.len(), 8, &tail)
    }

    pub(crate) fn function_type(&mut self, returns: u32, parameters: &[u32]) -> u32 {
        let parameters: Vec<_> = parameters.iter().map(|&ty| ("", ty)).collect();
        self.named_function_type(returns, &parameters)
    }

    pub(crate) fn named_function_type(&mut self, returns: u32, parameters: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = parameters.iter().flat_map(|&(name, ty)| [self.string(name), ty]).collect();
        self.add("", kind::FUNC_PROTO, false, parameters.len(), returns, &tail)
    }

    fn members(&mut self, members: &[(&str, u32, u32)]) -> Vec<u32> {
        members.iter().flat_map(|&(name, ty, offset)| [self.string(name), ty, offset]).collect()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_with(24, &[])
    }

    /// Returns the bytes with a kind layout, as Linux 7.1 and later write it. `kinds` has, for each kind, the number of bytes after the
    /// head of a type and the number of bytes of each element. The entries of known kinds are wrong on purpose: readers must not use them.
    pub(crate) fn bytes_with_layout(&self, kinds: &[(usize, u8, u8)]) -> Vec<u8> {
        let last = kinds.iter().map(|(kind, ..)| *kind).max().unwrap_or(0);
        let mut layout = vec![[60, 60, 0, 0]; last + 1];
        for &(kind, info, element) in kinds {
            layout[kind] = [info, element, 0, 0];
        }
        self.bytes_with(32, layout.as_flattened())
    }

    fn bytes_with(&self, header: u32, layout: &[u8]) -> Vec<u8> {
        let len = |len: usize| u32::try_from(len).unwrap();
        let types: Vec<u8> = self.types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&[1, 0]);
        let strings = len(types.len() + layout.len());
        let words =
            [header, 0, len(types.len()), strings, len(self.strings.len()), len(types.len()), len(layout.len())];
        for word in &words[..usize::try_from(header / 4 - 1).unwrap()] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&types);
        bytes.extend_from_slice(layout);
        bytes.extend_from_slice(&self.strings);
        bytes
    }

    pub(crate) fn types_with_layout(&self, kinds: &[(usize, u8, u8)]) -> Types {
        Types::of_program(self.bytes_with_layout(kinds)).unwrap()
    }

    pub(crate) fn types(&self) -> Types {
        Types::of_program(self.bytes()).unwrap()
    }

    pub(crate) fn shared(&self) -> Arc<Types> {
        Arc::new(self.types())
    }
}
