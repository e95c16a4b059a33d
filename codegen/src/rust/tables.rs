//! The tables of the runtime's ABI with owned contents: what a plan fills and what is written into the generated file.
//!
//! Field for field the structs of [`skelgen_abi::plan`], which say what each means; only names and lists are owned here.

use skelgen_abi::plan::{Attach, JumpTable, KconfigKind, Patch, PercpuForm, Section, Span, Step, SymbolKind};
use skelgen_abi::uapi::{AttachType, MapType, ProgramType};

use crate::insn::Endian;

/// See [`skelgen_abi::plan::Object`].
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
    pub functions: Vec<OwnedFunction>,
    pub programs: Vec<OwnedProgram>,
    pub symbols: Vec<OwnedSymbol>,
    pub kconfig: Vec<OwnedKconfig>,
    pub steps: Vec<Step>,
}

/// See [`skelgen_abi::plan::Map`].
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
    pub jump_table: Option<JumpTable>,
    pub pin_by_name: bool,
}

/// See [`skelgen_abi::plan::StructOps`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedStructOps {
    pub name: String,
    pub members: Vec<OwnedMember>,
    pub autocreate: bool,
}

/// See [`skelgen_abi::plan::Member`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedMember {
    pub name: String,
    pub offset: u32,
    pub size: u32,
    pub kind: u32,
    pub program: Option<u32>,
}

/// See [`skelgen_abi::plan::Program`].
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
    pub functions: Vec<u32>,
}

/// See [`skelgen_abi::plan::Function`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedFunction {
    pub btf_id: u32,
    pub body: OwnedBody,
    pub emulated: Option<OwnedBody>,
}

/// See [`skelgen_abi::plan::Body`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedBody {
    pub insns: Span,
    pub patches: Span,
    pub line_info: Span,
    pub core_relos: Span,
}

impl OwnedObject {
    /// A range of the blob; empty if it lies outside.
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        let from = span.offset as usize;
        self.blob.get(from..).and_then(|rest| rest.get(..span.len as usize)).unwrap_or_default()
    }

    /// The patches of a body.
    pub fn patches(&self, body: &OwnedBody) -> impl Iterator<Item = Patch> + '_ {
        let bytes = self.bytes(body.patches);
        bytes.chunks_exact(Patch::SIZE).filter_map(|chunk| Patch::from_bytes(*chunk.first_chunk()?))
    }
}

/// See [`skelgen_abi::plan::Symbol`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedSymbol {
    pub name: String,
    pub kind: SymbolKind,
    pub weak: bool,
    pub ty: Option<u32>,
}

/// See [`skelgen_abi::plan::Kconfig`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented at the struct it mirrors")]
pub struct OwnedKconfig {
    pub name: String,
    pub kind: KconfigKind,
    pub offset: u32,
    pub size: u32,
    pub weak: bool,
}
