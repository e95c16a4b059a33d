//! Lookups of names in handmade BTF files: files of modules, files with unknown kinds, and malformed files.

use std::path::PathBuf;

use super::*;
use crate::btf::{Types, kind, testing::Btf};
use crate::kernel::types;

/// A directory of BTF files, which is removed when dropped.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, files: &[(&str, Vec<u8>)]) -> Self {
        let directory = std::env::temp_dir().join(format!("skelgen-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for (name, bytes) in files {
            std::fs::write(directory.join(name), bytes).unwrap();
        }
        Self(directory)
    }

    /// Looks up functions in all files, as in modules of a kernel with a hundred types.
    fn find(&self, names: &[&'static str], base: &Layout) -> (Vec<Option<u32>>, Vec<String>, InModules) {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let mut wanted: Vec<_> = names.iter().map(|name| Wanted::new(name, SymbolKind::Function)).collect();
        let mut found = InModules { positions: vec![None; wanted.len()], ..InModules::default() };
        let base = Base { types: 100, strings: &[], layout: base };
        let sources = paths.iter().map(|path| (path, Source::open(path, false)));
        let modules = find_in(sources, &base, &mut wanted, &mut found);
        let modules = modules.unwrap().into_iter().map(|path| module_name(path)).collect();
        (wanted.iter().map(|wanted| wanted.id).collect(), modules, found)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn function(btf: &mut Btf, name: &str) {
    btf.add(name, kind::FUNC, false, 0, 0, &[]);
}

/// Functions before and after a type of unknown kind, which has 8 bytes of its own and 4 for each of its two elements.
fn with_unknown_kind() -> Btf {
    let mut btf = Btf::new();
    function(&mut btf, "before");
    btf.add("odd", 20, true, 2, 7, &[u32::MAX; 4]);
    btf.add("", 127, false, 0, 0, &[]);
    function(&mut btf, "behind");
    btf
}

const LAYOUT: [(usize, u8, u8); 2] = [(20, 8, 4), (127, 0, 0)];

fn layout() -> Layout {
    let mut entries = vec![[0; 4]; 128];
    entries[20] = [8, 4, 0, 0];
    Layout::parse(entries.as_flattened())
}

#[test]
fn offsets_of_one_module_are_not_used_in_the_next() {
    // The first has a member of the name, the second a function of a different name at the same offset, the third the
    // function.
    let (mut first, mut second, mut third) = (Btf::new(), Btf::new(), Btf::new());
    first.structure("s", 8, &[("probe", 0, 0)]);
    function(&mut second, "other");
    third.structure("longer", 8, &[]);
    function(&mut third, "probe");
    let files = Files::new("modules", &[("a", first.bytes()), ("b", second.bytes()), ("c", third.bytes())]);
    let (ids, modules, found) = files.find(&["probe", "other", "nothing"], &Layout::default());
    assert_eq!((found.positions, modules), (vec![Some(1), Some(0), None], vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!((ids, found.unread), (vec![Some(102), Some(101), None], Vec::new()));
}

#[test]
fn unknown_kinds_are_skipped() {
    let btf = with_unknown_kind();
    let files = Files::new("unknown", &[("own", btf.bytes_with_layout(&LAYOUT))]);
    let (ids, _, found) = files.find(&["before", "behind"], &Layout::default());
    assert_eq!((ids, found.unread), (vec![Some(101), Some(104)], Vec::new()));
    // A module without a kind layout uses that of vmlinux.
    let files = Files::new("unknown-base", &[("base", btf.bytes())]);
    let (ids, _, found) = files.find(&["before", "behind"], &layout());
    assert_eq!((ids, found.unread), (vec![Some(101), Some(104)], Vec::new()));
}

#[test]
fn without_a_layout_types_before_an_unknown_kind_are_found() {
    let files = Files::new("no-layout", &[("module", with_unknown_kind().bytes())]);
    let (ids, _, found) = files.find(&["before", "behind"], &Layout::default());
    assert_eq!(ids, [Some(101), None]);
    let why = "the BTF of module `module` could not be read: type [102] has unknown kind 20, and there is no kind layout that gives its size";
    assert_eq!(found.unread, [why]);
    // There is no note if all names were found.
    assert!(files.find(&["before"], &Layout::default()).2.unread.is_empty());
}

#[test]
fn unreadable_modules_are_noted_and_skipped() {
    let mut good = Btf::new();
    function(&mut good, "probe");
    let good = good.bytes();
    let mut long = good.clone();
    // Its types are longer than the file.
    long[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
    // Its only type is a struct of more members than it has bytes for.
    let mut cut = good.clone();
    cut[28..32].copy_from_slice(&(kind::STRUCT << 24 | 0xff_ffff).to_ne_bytes());
    let files = Files::new(
        "damaged",
        &[("a", Vec::new()), ("b", vec![0; 200]), ("c", long), ("d", cut), ("e", good[..20].to_vec()), ("f", good)],
    );
    let (ids, modules, found) = files.find(&["probe", "absent"], &Layout::default());
    assert_eq!((ids, modules), (vec![Some(101), None], vec!["f".to_owned()]));
    let text = found.unread.join("\n");
    assert_eq!(found.unread.len(), 5, "{text}");
    assert!(text.starts_with("the BTF of module `a` could not be read: the BTF is empty\n"), "{text}");
    assert!(text.contains("module `b` could not be read: the BTF does not begin with a header"), "{text}");
    assert!(text.contains("module `c` could not be read: the BTF is shorter than its header states"), "{text}");
    assert!(text.contains("module `d` could not be read"), "{text}");
}

#[test]
fn numbers_of_a_layout_are_checked() {
    let btf = with_unknown_kind();
    // Sizes that are not multiples of four, and elements longer than the file.
    for wrong in [(20, 6, 4), (20, 8, 2), (20, 252, 252)] {
        let files = Files::new("layout", &[("module", btf.bytes_with_layout(&[wrong]))]);
        let (ids, _, found) = files.find(&["before", "behind"], &Layout::default());
        assert_eq!((ids[1], found.unread.len()), (None, 1), "{wrong:?}");
    }
}

/// Names of the kernel, and whether it has them.
const NAMES: [(&str, SymbolKind, bool); 8] = [
    ("btf_trace_sched_switch", SymbolKind::Typedef, true),
    ("bpf_iter_task", SymbolKind::Function, true),
    ("task_struct", SymbolKind::Struct, true),
    ("task_struct", SymbolKind::Function, false),
    ("no_such_name_anywhere", SymbolKind::Struct, false),
    ("a", SymbolKind::Function, false),
    ("", SymbolKind::Struct, false),
    ("task_struct\0", SymbolKind::Struct, false),
];

fn names() -> Vec<Wanted<'static>> {
    NAMES.iter().map(|&(name, kind, _)| Wanted::new(name, kind)).collect()
}

fn ids(wanted: &[Wanted<'_>]) -> Vec<Option<u32>> {
    wanted.iter().map(|wanted| wanted.id).collect()
}

#[test]
fn all_ways_find_the_same() {
    let path = Path::new(DIRECTORY).join("vmlinux");
    if !path.exists() {
        eprintln!("skipped: this kernel has no BTF");
        return;
    }
    let scan = |sysfs| {
        let mut wanted = names();
        let base = Base { types: 0, strings: &[], layout: &Layout::default() };
        Source::open(&path, sysfs).unwrap().find(&base, &mut wanted).unwrap();
        ids(&wanted)
    };
    let found = scan(true);
    assert!(found.iter().map(Option::is_some).eq(NAMES.iter().map(|(.., has)| *has)), "{found:?}");
    assert_eq!(found, scan(false));
    let mut wanted = names();
    if !in_kernel::answer(&mut wanted) {
        eprintln!("skipped: this process cannot ask the kernel");
        return;
    }
    assert_eq!(ids(&wanted), found);
    assert!(wanted.iter().all(|wanted| !wanted.is_open()));
    // The second search finds what the first remembered.
    for _ in 0..2 {
        let mut wanted = names();
        find(&mut wanted).unwrap();
        assert_eq!(ids(&wanted), found);
    }
    let mut wanted = names();
    known::recall(&mut wanted);
    assert_eq!(ids(&wanted), found);
}

/// Compares a thousand names of vmlinux, names of each module, and names that do not exist.
#[test]
fn the_kernel_finds_what_a_scan_finds() {
    let Ok(vmlinux) = types::kernel(None) else {
        eprintln!("skipped: this kernel has no BTF");
        return;
    };
    let mut modules = types::modules(&vmlinux);
    let modules: Vec<_> = (&mut modules).map(|(_, types)| types).collect();
    let mut names: Vec<(String, SymbolKind)> = some_of(&vmlinux, 1_000).collect();
    names.extend(modules.iter().flat_map(|module| some_of(module, 20)));
    let absent = |(name, kind): &(String, SymbolKind)| (format!("{}_no", &name[..name.len().min(100)]), *kind);
    let absent: Vec<_> = names.iter().step_by(7).map(absent).collect();
    names.extend(absent);
    assert!(names.len() > 1_000);
    for names in names.chunks(500) {
        let wanted = || names.iter().map(|(name, kind)| Wanted::new(name, *kind)).collect::<Vec<_>>();
        let (mut scanned, mut asked) = (wanted(), wanted());
        let base = Base { types: 0, strings: &[], layout: &Layout::default() };
        Source::vmlinux().unwrap().find(&base, &mut scanned).unwrap();
        if !in_kernel::answer(&mut asked) {
            eprintln!("skipped: this process cannot ask the kernel");
            return;
        }
        assert_eq!(ids(&asked), ids(&scanned));
        // Types of modules stay open, and what the kernel calls absent is in no module.
        let is_open: Vec<bool> = asked.iter().map(Wanted::is_open).collect();
        let found = find_in_modules(&mut scanned).unwrap();
        assert!((0..names.len()).map(|name| found.position(name).is_some()).eq(is_open), "{found:?}");
    }
    println!("{} names, {} modules", names.len(), modules.len());
}

/// Prints how long each way takes: `cargo test --release -p skelgen-runtime --lib times_of_lookups -- --ignored --nocapture`.
#[test]
#[ignore = "measures, and compares nothing"]
fn times_of_lookups() {
    let vmlinux = types::kernel(None).unwrap();
    let names: Vec<(String, SymbolKind)> = some_of(&vmlinux, 40).collect();
    println!("names  in the kernel  scan  chosen (microseconds, minimum of 20)");
    for count in [1, 2, 5, 20] {
        let wanted = || names.iter().map(|(name, kind)| Wanted::new(name, *kind)).take(count).collect::<Vec<_>>();
        let least = |find: &dyn Fn(&mut [Wanted<'_>])| {
            let times = (0..20).map(|_| {
                let mut wanted = wanted();
                let begin = std::time::Instant::now();
                find(&mut wanted);
                begin.elapsed().as_micros()
            });
            times.min().unwrap_or_default()
        };
        let in_kernel = least(&|wanted| assert!(in_kernel::answer(wanted)));
        let base = Base { types: 0, strings: &[], layout: &Layout::default() };
        let scan =
            |wanted: &mut [Wanted<'_>]| assert!(Source::vmlinux().unwrap().find(&base, wanted).unwrap().is_none());
        let chosen = least(&|wanted| {
            if !in_kernel::find(wanted) {
                scan(wanted);
            }
        });
        println!("{count:5}  {in_kernel:13}  {:4}  {chosen:6}", least(&scan));
    }
}

/// Returns about this number of names of types, evenly distributed.
fn some_of(types: &Types, count: usize) -> impl Iterator<Item = (String, SymbolKind)> {
    let mut all = Vec::new();
    types.each_named(|_, kind, name| {
        let symbol = match kind {
            kind::STRUCT => SymbolKind::Struct,
            kind::TYPEDEF => SymbolKind::Typedef,
            kind::FUNC => SymbolKind::Function,
            kind::VAR => SymbolKind::Variable,
            _ => return,
        };
        // The verifier limits the stack of a program, and so the names that it can look up.
        let name = String::from_utf8_lossy(name.split(|&byte| byte == 0).next().unwrap_or_default());
        if (1..=200).contains(&name.len()) {
            all.push((name.into_owned(), symbol));
        }
    });
    let step = (all.len() / count).max(1);
    all.into_iter().step_by(step)
}
