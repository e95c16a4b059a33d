//! C headers of types (`skelgen header`): a compiler that targets BPF gives each type the layout in the BTF.
//!
//! The test compiles the headers of the running kernel's types and of fixtures. `SKELGEN_BTF=FILE:FILE` adds the types
//! of other kernels. `SKELGEN_BPFTOOL=BPFTOOL` adds the headers that this bpftool writes.
//!
//! Results of 2026-11-30 for Debian's kernels on x86-64, with clang 19 and bpftool 7.8 (libbpf 1.8). A difference is a
//! type whose layout in the compiled header differs from that in the BTF:
//!
//! | kernel | structs, unions | members | enums | enumerators | differences | bpftool's |
//! |---|---|---|---|---|---|---|
//! | 6.1.0-50 | 7585 | 51263 | 1101 | 9084 | 0 | 2 |
//! | 6.12.117 | 8648 | 58496 | 1301 | 10743 | 0 | 3 |
//! | 7.3.4 | 9787 | 64961 | 1527 | 12363 | 0 | 4 |
//!
//! [`BPFTOOL_DIFFERS`] lists the differences of bpftool's header with their reasons; the test fails on any other.

mod layouts;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use skelgen::unstable::btf::{Btf, Composite, Int, Kind, Member, Type, TypeId};
use skelgen::unstable::elf::section_of_any;
use skelgen::unstable::insn::Endian;
use skelgen_corpus::golden;

use layouts::{Layouts, layouts};

/// The flags of the compiler: every warning is an error.
const STRICT: &[&str] = &["-Wall", "-Werror"];

fn parse(bytes: &[u8]) -> Btf {
    match section_of_any(bytes, ".BTF") {
        Ok(found) => {
            let (endian, data) = found.expect("the file has BTF");
            Btf::parse(data, endian)
        }
        Err(_) => Btf::parse(bytes, Endian::Little),
    }
    .expect("the BTF is valid")
}

/// Compiles a header with a variable of each type that it defines, and returns the types of the object.
fn compile(header: &str, flags: &[&str]) -> Btf {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let variables: Vec<String> =
        defined(header).iter().enumerate().map(|(index, name)| format!("{name} __variable{index};\n")).collect();
    std::fs::write(path("vmlinux.h"), header).expect("the directory can be written");
    std::fs::write(path("all.c"), format!("#include \"vmlinux.h\"\n{}", variables.concat()))
        .expect("the directory can be written");
    let clang = std::env::var_os("CLANG").unwrap_or_else(|| "clang-19".into());
    let output = Command::new(&clang)
        .args(["--target=bpf", "-g", "-O0", "-c", "-o"])
        .arg(path("all.o"))
        .arg(path("all.c"))
        .args(flags)
        .output()
        .expect("clang can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}", errors.lines().take(40).collect::<Vec<_>>().join("\n"));
    parse(&std::fs::read(path("all.o")).expect("it was compiled"))
}

/// Returns the types that a header defines: structs, unions and enums, and the typedefs of anonymous ones.
fn defined(header: &str) -> Vec<String> {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let mut found = Vec::new();
    for line in header.lines() {
        let empty = line.strip_prefix("typedef struct {").or_else(|| line.strip_prefix("typedef union {"));
        if let Some(rest) = empty.unwrap_or(line).strip_prefix("} ").and_then(|rest| rest.strip_suffix(';')) {
            found.extend(rest.rsplit(' ').next().filter(|name| is_name(name)).map(str::to_owned));
            continue;
        }
        let Some(open) = line.find(" {").filter(|_| line.starts_with(|c: char| !c.is_whitespace())) else { continue };
        let words: Vec<&str> = line[..open].split(' ').collect();
        if let ["struct" | "union" | "enum", name] = words[..] {
            found.push(format!("{} {name}", words[0]));
        }
    }
    found
}

/// The types whose layout in bpftool's header differs from that in the BTF, with the reason.
const BPFTOOL_DIFFERS: &[(&str, &str)] = &[
    ("va_format", "`va_list` is the compiler's own type, which has a different size for BPF"),
    ("warn_args", "`va_list` is the compiler's own type, which has a different size for BPF"),
    ("release_pages_arg", "the BTF has a size and no members, and only a member gives a union a size"),
    ("aes_encrypt_arg", "the BTF has a size and no members, and only a member gives a union a size"),
];

/// A comparison of layouts.
#[derive(Default)]
struct Comparison {
    structs: usize,
    members: usize,
    enums: usize,
    enumerators: usize,
    /// The names and both layouts of types that differ.
    different: Vec<(String, String)>,
}

impl Comparison {
    fn new(expected: &Layouts, found: &Layouts) -> Self {
        let mut comparison = Self::default();
        for ((keyword, name), expected) in expected {
            let lines = expected.iter().map(|layout| layout.lines().count() - 1).sum::<usize>();
            let (types, parts) = match *keyword {
                "enum" => (&mut comparison.enums, &mut comparison.enumerators),
                _ => (&mut comparison.structs, &mut comparison.members),
            };
            (*types, *parts) = (*types + expected.len(), *parts + lines);
            let found = found.get(&(*keyword, name.clone())).map_or(&[][..], Vec::as_slice);
            if found != expected {
                let layouts = format!("{keyword} {name}: expected {expected:#?}, found {found:#?}");
                comparison.different.push((name.clone(), layouts));
            }
        }
        comparison
    }

    fn show(&self, path: &Path, writer: &str) {
        println!(
            "{}, {writer}: {} structs and unions, {} members, {} enums, {} enumerators, {} differences",
            path.display(),
            self.structs,
            self.members,
            self.enums,
            self.enumerators,
            self.different.len()
        );
    }
}

/// Compares a header with the types from which it was written, and returns the layouts that differ. The header of
/// bpftool may differ in the types of [`BPFTOOL_DIFFERS`].
fn check(path: &Path, bpftool: Option<&OsStr>) -> Vec<String> {
    let bytes = std::fs::read(path).expect("the file can be read");
    let expected = layouts(&parse(&bytes));
    let header = skelgen::unstable::header(&bytes, None, &[], None).expect("a header can be written");
    let ours = Comparison::new(&expected, &layouts(&compile(&header, STRICT)));
    ours.show(path, "skelgen");
    let mut failed: Vec<String> = ours.different.into_iter().map(|(_, layouts)| layouts).collect();

    if let Some(bpftool) = bpftool {
        let output = Command::new(bpftool).args(["btf", "dump", "file"]).arg(path).args(["format", "c"]).output();
        let output = output.expect("bpftool can be run");
        let header = String::from_utf8(output.stdout).expect("names are ASCII");
        // Kernels since 6.19 have structs with a name as members without a name.
        let flags = &["-fms-extensions", "-Wno-microsoft-anon-tag"];
        let bpftool = Comparison::new(&expected, &layouts(&compile(&header, flags)));
        bpftool.show(path, "bpftool");
        for (name, layouts) in bpftool.different {
            match BPFTOOL_DIFFERS.iter().find(|(differs, _)| *differs == name) {
                Some((_, reason)) => println!("  {name}: {reason}"),
                None => failed.push(format!("bpftool: {layouts}")),
            }
        }
    }
    failed
}

/// Compares the headers of all files, and then fails if any differs.
fn check_all(paths: &[PathBuf], bpftool: Option<&OsStr>) {
    let failed: Vec<String> = paths.iter().flat_map(|path| check(path, bpftool)).collect();
    assert!(failed.is_empty(), "{}", failed[..failed.len().min(20)].join("\n"));
}

#[test]
fn headers_of_kernels_have_the_layout_of_the_types() {
    let running = PathBuf::from("/sys/kernel/btf/vmlinux");
    let more = std::env::var("SKELGEN_BTF").unwrap_or_default();
    let more = more.split(':').filter(|path| !path.is_empty()).map(PathBuf::from);
    let files: Vec<PathBuf> = Some(running).filter(|path| path.exists()).into_iter().chain(more).collect();
    if files.is_empty() {
        eprintln!("skipped: this kernel has no BTF");
    }
    check_all(&files, std::env::var_os("SKELGEN_BPFTOOL").as_deref());
}

/// Runs the tool with these arguments, and returns whether it succeeds, and its output.
fn run(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_skelgen")).arg("header").args(arguments).output();
    let output = output.expect("the tool runs");
    let printed = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(printed).expect("text is printed"))
}

#[test]
fn the_command_line_writes_headers() {
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects");
    let object = objects.join("layouts.bpf.o");
    let object = object.to_str().expect("the path is UTF-8");
    let (success, text) = run(&[object]);
    assert!(success, "{text}");
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/header/layouts.h");
    // The version in the first line changes with each release.
    let text = text.split_once('\n').expect("there are lines").1;
    if let Err(difference) = golden::check(&expected, text.as_bytes()) {
        panic!("{difference}\nrun with {}=1 to accept", golden::BLESS);
    }
    let (success, one) = run(&[object, "--type", "struct around_union"]);
    assert!(success && one.contains("union aligned_union {") && one.len() < text.len() / 2, "{one}");
    let (success, error) = run(&[object, "--type", "no_such"]);
    assert!(!success && error.contains("SK0704") && error.contains("`no_such`"), "{error}");
    let (success, error) = run(&["/no/such/file"]);
    assert!(!success && error.contains("cannot read /no/such/file"), "{error}");
}

/// Returns an ELF file of 64 bits in little-endian order with these sections, whose other fields are zero.
fn elf(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let names = [("", &[][..])].into_iter().chain(sections.iter().copied()).chain([(".shstrtab", &[][..])]);
    let names: Vec<(&str, &[u8])> = names.collect();
    let table: String = names.iter().map(|(name, _)| format!("{name}\0")).collect();
    let (mut file, mut headers, mut name_at) = (vec![0; 64], Vec::new(), 0_u32);
    for (index, (name, data)) in names.iter().enumerate() {
        let data = if index + 1 == names.len() { table.as_bytes() } else { data };
        // Sections of no type, of bytes (SHT_PROGBITS), and of strings.
        let kind = u32::from(index > 0) + 2 * u32::from(index + 1 == names.len());
        let mut header = [name_at, kind].map(u32::to_le_bytes).concat();
        header.extend([0, 0, file.len() as u64, data.len() as u64, 0, 1, 0].map(u64::to_le_bytes).concat());
        headers.extend(header);
        file.extend_from_slice(data);
        name_at += u32::try_from(name.len() + 1).expect("names are short");
    }
    file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    // A relocatable file (1) for x86-64 (62) of version 1.
    file[16..24].copy_from_slice(&[1, 0, 62, 0, 1, 0, 0, 0]);
    let at = file.len() as u64;
    file[40..48].copy_from_slice(&at.to_le_bytes());
    let count = u16::try_from(names.len()).expect("there are few");
    file[52..64].copy_from_slice(&[64, 0, 0, 64, count, count - 1].map(u16::to_le_bytes).concat());
    file.extend(headers);
    file
}

/// Since Linux 6.12, the types of a module refer to those in its section `.BTF.base`, and not to those of the kernel.
#[test]
fn a_module_with_its_own_base_gets_the_types_of_the_kernel() {
    let structure = |btf: &mut Btf, name: &str, size: u32, members: &[(&str, TypeId)]| {
        let members =
            members.iter().map(|(name, ty)| Member { name: btf.add_string(name), ty: *ty, bit_offset: 0, bit_size: 0 });
        let kind = Kind::Struct(Composite { size, members: members.collect(), bitfields: false });
        let name = btf.add_string(name);
        btf.push(Type { name, kind })
    };
    let mut kernel = Btf::new();
    let name = kernel.add_string("int");
    let int = Int { size: 4, bits: 32, bit_offset: 0, signed: true, char: false, bool: false };
    let int = kernel.push(Type { name, kind: Kind::Int(int) });
    structure(&mut kernel, "first", 4, &[("a", int)]);
    structure(&mut kernel, "task", 4, &[("pid", int)]);
    let mut base = Btf::new();
    structure(&mut base, "task", 4, &[]);
    // The ids and strings of a module continue those of its base.
    let mut module = base.clone();
    structure(&mut module, "own", 4, &[("task", TypeId(1))]);
    let (whole, start) = (module.write(Endian::Little), base.write(Endian::Little));
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let (types, strings) = (word(&start, 12), word(&start, 20));
    let own_types = &whole[24 + types..24 + word(&whole, 12)];
    let own_strings = &whole[24 + word(&whole, 12) + strings..];
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("it is short").to_le_bytes();
    let header = [&whole[..12], &len(own_types), &len(own_types), &len(own_strings)].concat();
    let split = [&header, own_types, own_strings].concat();

    let file = elf(&[(".BTF", &split), (".BTF.base", &start)]);
    let kernel = kernel.write(Endian::Little);
    let alone = skelgen::unstable::header(&file, None, &[], None).expect("the base has the types");
    assert!(alone.contains("struct task {\n\tlong: 32;\n}") && alone.contains("struct own {"), "{alone}");
    let text = skelgen::unstable::header(&file, Some(&kernel), &[], None).expect("the kernel has the types");
    assert!(text.contains("struct task {\n\tint pid;\n};") && text.contains("struct own {"), "{text}");
    assert!(!text.contains("first"), "it belongs to the kernel's header");
    let error = skelgen::unstable::header(&file, Some(&start[..24]), &[], None).expect_err("its sections are missing");
    assert!(error.to_string().contains("BTF"), "{error}");
}

#[test]
fn headers_of_objects_have_the_layout_of_the_types() {
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/objects");
    let names = ["layouts", "typed", "core", "medium", "newer"];
    // These objects have types that kernels do not have and that bpftool's header cannot express.
    check_all(&names.map(|name| objects.join(format!("{name}.bpf.o"))), None);
}
