//! The tables of the runtime's ABI with owned contents: what a plan fills and what is written into the generated file.
//!
//! Field for field the structs of [`skelgen_runtime::abi`], which say what each means; only names and lists are owned here.

use skelgen_runtime::abi::{Attach, KconfigKind, Patch, PercpuForm, Section, Span, Step, SymbolKind};
use skelgen_runtime::uapi::{AttachType, MapType, ProgramType};

use crate::insn::Endian;

/// See [`skelgen_runtime::abi::Object`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedObject {
    /// The byte order of its machines; the generated file asserts it.
    pub endian: Endian,
    pub name: String,
    pub license: String,
    pub kernel_version: u32,
    pub blob: Vec<u8>,
    pub btf: Option<Span>,
    pub percpu: PercpuForm,
    pub maps: Vec<OwnedMap>,
    pub programs: Vec<OwnedProgram>,
    pub symbols: Vec<OwnedSymbol>,
    pub kconfig: Vec<OwnedKconfig>,
    pub steps: Vec<Step>,
}

/// See [`skelgen_runtime::abi::Map`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedMap {
    pub name: String,
    pub kernel_name: String,
    pub map_type: MapType,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: u32,
    pub numa_node: u32,
    pub extra: u64,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    pub inner: Option<u32>,
    pub template: bool,
    pub section: Option<Section>,
    pub struct_ops: Option<OwnedStructOps>,
    pub program: Option<u32>,
    pub pin_by_name: bool,
}

/// See [`skelgen_runtime::abi::StructOps`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedStructOps {
    pub name: String,
    pub members: Vec<OwnedMember>,
    pub autocreate: bool,
}

/// See [`skelgen_runtime::abi::Member`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedMember {
    pub name: String,
    pub offset: u32,
    pub size: u32,
    pub kind: u32,
    pub program: Option<u32>,
}

/// See [`skelgen_runtime::abi::Program`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedProgram {
    pub name: String,
    pub section: String,
    pub program_type: ProgramType,
    pub expected_attach_type: AttachType,
    pub flags: u32,
    pub autoload: bool,
    pub since: (u16, u16),
    pub target: Option<u32>,
    pub attach: Attach<String>,
    pub body: OwnedBody,
    pub emulated: Option<OwnedBody>,
}

/// See [`skelgen_runtime::abi::Body`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedBody {
    pub insns: Span,
    pub patches: Span,
    pub func_info: Span,
    pub line_info: Span,
    pub core_relos: Span,
}

impl OwnedObject {
    /// The patches of a body.
    pub fn patches(&self, body: &OwnedBody) -> impl Iterator<Item = Patch> + '_ {
        let from = body.patches.offset as usize;
        let bytes = self.blob.get(from..from + body.patches.len as usize).unwrap_or_default();
        bytes.chunks_exact(Patch::SIZE).filter_map(|chunk| Patch::from_bytes(*chunk.first_chunk()?))
    }
}

/// See [`skelgen_runtime::abi::Symbol`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedSymbol {
    pub name: String,
    pub kind: SymbolKind,
    pub weak: bool,
    pub ty: Option<u32>,
}

/// See [`skelgen_runtime::abi::Kconfig`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedKconfig {
    pub name: String,
    pub kind: KconfigKind,
    pub offset: u32,
    pub size: u32,
    pub weak: bool,
}
