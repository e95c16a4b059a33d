//! The tables of the plan as constants.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use skelgen_runtime::abi::{KconfigKind, PatchKind, PercpuForm, SectionKind, Span, Step, SymbolKind};

use super::tables::{
    OwnedAttach, OwnedBody, OwnedKconfig, OwnedMap, OwnedObject, OwnedProgram, OwnedStructOps, OwnedSymbol,
};

/// The statics `MAPS`, `PROGRAMS`, `SYMBOLS`, `STEPS`, `TABLES` and `OBJECT`.
pub(super) fn image(object: &OwnedObject) -> TokenStream {
    let maps = object.maps.iter().map(map);
    let programs = object.programs.iter().map(program);
    let symbols = object.symbols.iter().map(symbol);
    let kconfig = object.kconfig.iter().map(kconfig);
    let steps = object.steps.iter().map(|step| self::step(*step));
    let name = &object.name;
    let license = c_string(&object.license);
    let kernel_version = number(object.kernel_version);
    let btf = option(object.btf.map(span));
    let percpu = match object.percpu {
        PercpuForm::Native => quote!(Native),
        PercpuForm::Emulated => quote!(Emulated),
        PercpuForm::Either => quote!(Either),
    };
    quote! {
        static MAPS: &[rt::abi::Map] = &[#(#maps),*];
        static PROGRAMS: &[rt::abi::Program] = &[#(#programs),*];
        static SYMBOLS: &[rt::abi::Symbol] = &[#(#symbols),*];
        /// What is asked of the kernel, in this order.
        static STEPS: &[rt::abi::Step] = &[#(#steps),*];
        static TABLES: rt::abi::Object = rt::abi::Object {
            name: #name,
            license: #license,
            kernel_version: #kernel_version,
            blob: &BLOB,
            btf: #btf,
            percpu: rt::abi::PercpuForm::#percpu,
            maps: MAPS,
            programs: PROGRAMS,
            symbols: SYMBOLS,
            kconfig: &[#(#kconfig),*],
            steps: STEPS,
        };
    }
}

fn number(value: u32) -> Literal {
    Literal::u32_unsuffixed(value)
}

fn span(span: Span) -> TokenStream {
    let (offset, len) = (number(span.offset), number(span.len));
    if span == Span::EMPTY { quote!(rt::abi::Span::EMPTY) } else { quote!(rt::abi::Span::new(#offset, #len)) }
}

fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(Some(#value)),
        None => quote!(None),
    }
}

/// A text as `CStr` literal; what follows a NUL is cut off, as C would.
fn c_string(text: &str) -> Literal {
    let text = text.split('\0').next().unwrap_or_default();
    std::ffi::CString::new(text).map_or_else(|_| Literal::c_string(c""), |text| Literal::c_string(&text))
}

fn constant(ty: &str, name: Option<&str>, value: u32) -> TokenStream {
    let ty = format_ident!("{ty}");
    match name {
        Some(name) => {
            let name = format_ident!("{name}");
            quote!(rt::uapi::#ty::#name)
        }
        None => {
            let value = number(value);
            quote!(rt::uapi::#ty(#value))
        }
    }
}

fn map(map: &OwnedMap) -> TokenStream {
    let OwnedMap { name, kernel_name, template, pin_by_name, .. } = map;
    let map_type = constant("MapType", map.map_type.constant(), map.map_type.0);
    let [key_size, value_size, max_entries, flags, numa_node, key_type, value_type] = [
        map.key_size,
        map.value_size,
        map.max_entries,
        map.flags,
        map.numa_node,
        map.btf_key_type_id,
        map.btf_value_type_id,
    ]
    .map(number);
    let extra = Literal::u64_unsuffixed(map.extra);
    let inner = option(map.inner.map(number).map(|inner| quote!(#inner)));
    let section = option(map.section.map(|section| {
        let kind = match section.kind {
            SectionKind::Data => quote!(Data),
            SectionKind::Bss => quote!(Bss),
            SectionKind::Rodata => quote!(Rodata),
            SectionKind::Percpu => quote!(Percpu),
            SectionKind::Kconfig => quote!(Kconfig),
            SectionKind::StructOps => quote!(StructOps),
            SectionKind::Arena => quote!(Arena),
            SectionKind::JumpTable => quote!(JumpTable),
        };
        let (initial, align) = (span(section.initial), number(section.align));
        quote!(rt::abi::Section { kind: rt::abi::SectionKind::#kind, initial: #initial, align: #align })
    }));
    let struct_ops = option(map.struct_ops.as_ref().map(struct_ops));
    let program = option(map.program.map(number).map(|program| quote!(#program)));
    quote! {
        rt::abi::Map {
            name: #name,
            kernel_name: #kernel_name,
            map_type: #map_type,
            key_size: #key_size,
            value_size: #value_size,
            max_entries: #max_entries,
            flags: #flags,
            numa_node: #numa_node,
            extra: #extra,
            btf_key_type_id: #key_type,
            btf_value_type_id: #value_type,
            inner: #inner,
            template: #template,
            section: #section,
            struct_ops: #struct_ops,
            program: #program,
            pin_by_name: #pin_by_name,
        }
    }
}

fn struct_ops(table: &OwnedStructOps) -> TokenStream {
    let OwnedStructOps { name, autocreate, .. } = table;
    let members = table.members.iter().map(|member| {
        let name = &member.name;
        let [offset, size, kind] = [member.offset, member.size, member.kind].map(number);
        let program = option(member.program.map(number).map(|program| quote!(#program)));
        quote!(rt::abi::Member { name: #name, offset: #offset, size: #size, kind: #kind, program: #program })
    });
    quote!(rt::abi::StructOps { name: #name, members: &[#(#members),*], autocreate: #autocreate })
}

fn program(program: &OwnedProgram) -> TokenStream {
    let OwnedProgram { name, section, autoload, .. } = program;
    let program_type = constant("ProgramType", program.program_type.constant(), program.program_type.0);
    let attach_type = match program.expected_attach_type.0 {
        0 => quote!(rt::uapi::AttachType(0)),
        value => constant("AttachType", program.expected_attach_type.constant(), value),
    };
    let flags = number(program.flags);
    let target = option(program.target.map(number).map(|target| quote!(#target)));
    let attach = match &program.attach {
        OwnedAttach::Needs(what) => quote!(Needs(#what)),
        OwnedAttach::Never(how) => quote!(Never(#how)),
        OwnedAttach::RawTracepoint(name) => quote!(RawTracepoint(#name)),
        OwnedAttach::Tracing => quote!(Tracing),
        OwnedAttach::Iter => quote!(Iter),
        OwnedAttach::Tracepoint { category, name } => quote!(Tracepoint { category: #category, name: #name }),
        OwnedAttach::Kprobe { function, offset, at_return } => {
            let offset = Literal::u64_unsuffixed(*offset);
            quote!(Kprobe { function: #function, offset: #offset, at_return: #at_return })
        }
    };
    let emulated = option(program.emulated.as_ref().map(body));
    let body = body(&program.body);
    quote! {
        rt::abi::Program {
            name: #name,
            section: #section,
            program_type: #program_type,
            expected_attach_type: #attach_type,
            flags: #flags,
            autoload: #autoload,
            target: #target,
            attach: rt::abi::Attach::#attach,
            body: #body,
            emulated: #emulated,
        }
    }
}

fn body(body: &OwnedBody) -> TokenStream {
    let [insns, func_info, line_info, core_relos] =
        [body.insns, body.func_info, body.line_info, body.core_relos].map(span);
    let patches = body.patches.iter().map(|patch| {
        let insn = number(patch.insn);
        let kind = match patch.kind {
            PatchKind::Map(index) => indexed("Map", index),
            PatchKind::ArenaValue(index) => indexed("ArenaValue", index),
            PatchKind::Variable(index) => indexed("Variable", index),
            PatchKind::Function(index) => indexed("Function", index),
            PatchKind::Address(index) => indexed("Address", index),
            PatchKind::CpuMask => quote!(CpuMask),
            PatchKind::Stride(index) => indexed("Stride", index),
        };
        quote!(rt::abi::Patch { insn: #insn, kind: rt::abi::PatchKind::#kind })
    });
    quote! {
        rt::abi::Body {
            insns: #insns,
            patches: &[#(#patches),*],
            func_info: #func_info,
            line_info: #line_info,
            core_relos: #core_relos,
        }
    }
}

fn indexed(name: &str, index: u32) -> TokenStream {
    let (name, index) = (format_ident!("{name}"), number(index));
    quote!(#name(#index))
}

fn symbol(symbol: &OwnedSymbol) -> TokenStream {
    let OwnedSymbol { name, weak, .. } = symbol;
    let kind = match symbol.kind {
        SymbolKind::Function => quote!(Function),
        SymbolKind::Typedef => quote!(Typedef),
        SymbolKind::Variable => quote!(Variable),
        SymbolKind::Struct => quote!(Struct),
        SymbolKind::Address => quote!(Address),
    };
    quote!(rt::abi::Symbol { name: #name, kind: rt::abi::SymbolKind::#kind, weak: #weak })
}

fn kconfig(config: &OwnedKconfig) -> TokenStream {
    let OwnedKconfig { name, weak, .. } = config;
    let (offset, size) = (number(config.offset), number(config.size));
    let kind = match config.kind {
        KconfigKind::Bool => quote!(Bool),
        KconfigKind::Tristate => quote!(Tristate),
        KconfigKind::Char { signed } => quote!(Char { signed: #signed }),
        KconfigKind::Integer { signed } => quote!(Integer { signed: #signed }),
        KconfigKind::Text => quote!(Text),
    };
    quote! {
        rt::abi::Kconfig {
            name: #name,
            kind: rt::abi::KconfigKind::#kind,
            offset: #offset,
            size: #size,
            weak: #weak,
        }
    }
}

fn step(step: Step) -> TokenStream {
    let step = match step {
        Step::LoadBtf => quote!(LoadBtf),
        Step::ResolveSymbols => quote!(ResolveSymbols),
        Step::CreateMap { map } => named("CreateMap", &[("map", map)]),
        Step::FillMap { map, flags } => {
            let map = number(map);
            let flags = match flags {
                skelgen_runtime::uapi::elem_flags::ALL_CPUS => quote!(rt::uapi::elem_flags::ALL_CPUS),
                flags => {
                    let flags = Literal::u64_unsuffixed(flags);
                    quote!(#flags)
                }
            };
            quote!(FillMap { map: #map, flags: #flags })
        }
        Step::FillKconfig { map } => named("FillKconfig", &[("map", map)]),
        Step::FreezeMap { map } => named("FreezeMap", &[("map", map)]),
        Step::InsertMap { outer, key, inner } => {
            named("InsertMap", &[("outer", outer), ("key", key), ("inner", inner)])
        }
        Step::LoadProgram { program } => named("LoadProgram", &[("program", program)]),
        Step::BindMap { program, map } => named("BindMap", &[("program", program), ("map", map)]),
        Step::InsertProgram { map, key, program } => {
            named("InsertProgram", &[("map", map), ("key", key), ("program", program)])
        }
    };
    quote!(rt::abi::Step::#step)
}

fn named(name: &str, fields: &[(&str, u32)]) -> TokenStream {
    let name = format_ident!("{name}");
    let fields = fields.iter().map(|(field, value)| {
        let (field, value) = (format_ident!("{field}"), number(*value));
        quote!(#field: #value)
    });
    quote!(#name { #(#fields),* })
}
