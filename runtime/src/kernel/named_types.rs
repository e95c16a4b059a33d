//! Types by name: of the running kernel and its modules, of a file, or of any BTF object.
//!
//! A lookup reads all types in order and needs no index, because programs make few lookups. The kernel's types come
//! before those of its modules. To add a property of a type, see `type_view.rs`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::type_view::{Function, Member, Type};
use super::types;
use crate::btf::{self, kind};
use crate::error::Result;

/// The BTF of the kernel itself, in messages.
const VMLINUX: &str = "the BTF of vmlinux";

/// The declaration tag of functions that programs can call.
const KFUNC: &str = "bpf_kfunc";

/// The types and functions of the running kernel and its modules, to look up by name.
///
/// A load relocates an object to the kernel's types (CO-RE). Use this to make decisions before the load: which programs
/// and members of a struct_ops map exist, or which value an enumerator has.
///
/// The types are those of the kernel's BTF, which requires CONFIG_DEBUG_INFO_BTF. Since Linux 6.16, the kernel's BTF is
/// mapped into memory; before, it is copied (6 MB). An index takes four bytes for each type. A lookup by name takes
/// about a millisecond.
///
/// # Examples
/// The lookups of a scheduler that runs on several kernels:
/// ```no_run
/// use skelgen_runtime::kernel::Types;
///
/// # fn main() -> skelgen_runtime::Result<()> {
/// let types = Types::load()?;
/// let slice = types.enum_value("scx_public_consts", "SCX_SLICE_DFL").unwrap_or(20_000_000);
/// let keep_idle = types.enum_value("scx_ops_flags", "SCX_OPS_KEEP_BUILTIN_IDLE").unwrap_or(0); // 0 where it does not exist
/// let has_dump = types.member("sched_ext_ops", "dump").is_some();
/// let can_kick = types.function("scx_bpf_kick_cpu").is_some();
/// let state = types.member("task_struct", "__state").or_else(|| types.member("task_struct", "state"));
/// println!("{slice} {keep_idle} {has_dump} {can_kick} at byte {:?}", state.map(|state| state.offset()));
/// # Ok(())
/// # }
/// ```
///
/// ```
/// use skelgen_runtime::kernel::Types;
///
/// fn describe(types: &Types) {
///     if let Some(task) = types.find("struct task_struct") {
///         for member in task.members().filter(|member| member.bit_size().is_some()) {
///             println!("bit {}: {}", member.bit_offset(), member.ty().declaration(member.name()));
///         }
///     }
///     if let Some(state) = types.find("enum bpf_cmd").map(|ty| ty.resolved()) {
///         println!("{} enumerators of {:?}", state.enumerators().count(), state.module());
///     }
///     println!("{:?}", types.enumerator("BPF_MAP_CREATE"));
///     // Since Linux 6.10, BTF can tag kfuncs. Without tags, any function may be a kfunc.
///     if let Some(function) = types.kfunc("bpf_task_from_pid").filter(|_| types.has_kfunc_tags()) {
///         println!("{:?}: {} ({} parameters)", function.module(), function.prototype(), function.parameters().count());
///     }
///     types.unread().for_each(|module| eprintln!("not read: {module}"));
/// }
/// ```
#[derive(Clone)]
pub struct Types {
    /// The kernel's types come first.
    all: Vec<Source>,
    unread: Vec<String>,
}

#[derive(Clone)]
struct Source {
    types: Arc<btf::Types>,
    module: Option<Arc<str>>,
}

/// Constructors.
impl Types {
    /// Reads the types of the running kernel and of all loaded modules that have BTF.
    ///
    /// A module whose BTF cannot be read is left out; [`Self::unread`] lists such modules. Types of modules that are
    /// loaded later are missing.
    ///
    /// # Errors
    /// If the kernel's own BTF cannot be read: the kernel is built without it, or sysfs is not mounted.
    pub fn load() -> Result<Self> {
        let mut this = Self::of_kernel()?;
        let vmlinux = Arc::clone(&this.all[0].types);
        let mut modules = types::modules(&vmlinux);
        this.all.extend((&mut modules).map(|(module, types)| Source { types, module: Some(module.into()) }));
        this.unread = modules.unread;
        Ok(this)
    }

    /// Reads the types of the running kernel without those of its modules.
    ///
    /// # Errors
    /// If the kernel's own BTF cannot be read, as in [`Self::load`].
    pub fn of_kernel() -> Result<Self> {
        types::kernel(None).map(|types| Self::of(types, None, VMLINUX))
    }

    /// Reads the types of a file: raw BTF like `/sys/kernel/btf/vmlinux`, not an ELF file.
    ///
    /// # Errors
    /// If the file cannot be read or is not BTF of this machine's byte order.
    ///
    /// # Examples
    /// ```no_run
    /// # fn main() -> skelgen_runtime::Result<()> {
    /// let types = skelgen_runtime::kernel::Types::from_file("vmlinux-6.1.btf")?;
    /// println!("{:?} bytes", types.find("struct task_struct").and_then(|task| task.size()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        types::file(path, None).map(|types| Self::of(types, None, format_args!("the BTF at {}", path.display())))
    }

    /// Reads the types of a file whose BTF continues that of a kernel, such as the BTF of a module. `base` has the types of that kernel.
    ///
    /// # Errors
    /// Those of [`Self::from_file`].
    ///
    /// # Examples
    /// ```no_run
    /// use skelgen_runtime::kernel::Types;
    ///
    /// # fn main() -> skelgen_runtime::Result<()> {
    /// let kernel = Types::from_file("vmlinux-6.1.btf")?;
    /// let module = Types::from_file_with_base("nf_conntrack-6.1.btf", &kernel)?;
    /// println!("{:?}", module.function("bpf_ct_release"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_file_with_base(path: impl AsRef<Path>, base: &Self) -> Result<Self> {
        let path = path.as_ref();
        let types = types::file(path, Some(Arc::clone(&base.all[0].types)))?;
        Ok(Self::of(types, None, format_args!("the BTF at {}", path.display())).after(base))
    }

    /// Reads the types of the BTF object with this id: the types of a loaded program, of the kernel, or of a module
    /// together with those of the kernel.
    ///
    /// # Errors
    /// If no BTF object has the id, the BTF is malformed, or the process has no permission to open it, which requires
    /// `CAP_SYS_ADMIN`.
    ///
    /// # Examples
    /// ```no_run
    /// # fn of_map(btf_id: u32) -> skelgen_runtime::Result<()> {
    /// let types = skelgen_runtime::kernel::Types::of_id(btf_id)?;
    /// if let Some(event) = types.find("struct event") {
    ///     event.members().for_each(|member| println!("{:4} {member}", member.offset()));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_id(id: u32) -> Result<Self> {
        let (types, module) = types::of_id(id)?;
        let base = types.base().map(|base| Self::of(Arc::clone(base), None, VMLINUX));
        let this = Self::of(types, module.map(Arc::from), format_args!("the BTF with id {id}"));
        Ok(match base {
            Some(base) => this.after(&base),
            None => this,
        })
    }

    /// Returns a message for each BTF that could not be read completely: which BTF it is, and the reason. A type that a lookup does not
    /// find may be in one of them. If the BTF of vmlinux is incomplete, no module is read.
    pub fn unread(&self) -> impl Iterator<Item = &str> {
        self.unread.iter().map(String::as_str)
    }

    /// Wraps types. `what` names their BTF in messages.
    fn of(types: Arc<btf::Types>, module: Option<Arc<str>>, what: impl fmt::Display) -> Self {
        let unread = types.gap().map(|gap| format!("{what} could not be read completely: {gap}")).into_iter().collect();
        Self { all: vec![Source { types, module }], unread }
    }

    /// Inserts the base BTF, which these types extend (split BTF), before them.
    fn after(mut self, base: &Self) -> Self {
        self.all.insert(0, base.all[0].clone());
        self
    }
}

/// Lookups. If several types have a name, a lookup returns the first. Types of the kernel come before types of modules.
impl Types {
    /// Finds a type by its name in C: `struct task_struct`, `union bpf_attr`, `enum pid_type`, `u64`. Without a
    /// keyword, typedefs and integer types come first, then structs, unions and enums. Forward declarations are not
    /// found.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Type<'_>> {
        const BASIC: &[u32] = &[kind::TYPEDEF, kind::INT, kind::FLOAT];
        const ENUMS: &[u32] = &[kind::ENUM, kind::ENUM64];
        let (keyword, rest) = name.split_once(' ').unwrap_or(("", name));
        let kinds: &[&[u32]] = match keyword {
            "struct" => &[&[kind::STRUCT]],
            "union" => &[&[kind::UNION]],
            "enum" => &[ENUMS],
            _ => &[BASIC, &[kind::STRUCT, kind::UNION], ENUMS],
        };
        // Integer types have names of several words, such as `unsigned int`.
        let name = if kinds.len() == 1 { rest.trim_start() } else { name };
        kinds.iter().find_map(|kinds| self.types_named(kinds, name).next())
    }

    /// Finds a member of a struct or union, by the name of the type, with or without a keyword, and the member's name or a path, as in
    /// [`Type::member`].
    ///
    /// ```no_run
    /// # fn main() -> skelgen_runtime::Result<()> {
    /// let types = skelgen_runtime::kernel::Types::of_kernel()?;
    /// if let Some(pid) = types.member("task_struct", "signal") {
    ///     println!("{pid}: bytes {} to {:?}", pid.offset(), pid.size().map(|size| pid.offset() + size));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn member(&self, type_name: &str, path: &str) -> Option<Member<'_>> {
        self.find(type_name)?.member(path)
    }

    /// Returns the value of an enumerator, by the name of its enum, with or without the keyword. Negative values are sign-extended to 64 bits.
    #[must_use]
    pub fn enum_value(&self, enum_name: &str, enumerator: &str) -> Option<u64> {
        let name = enum_name.strip_prefix("enum ").unwrap_or(enum_name);
        // An enum can be declared differently in several files.
        let enums = self.types_named(&[kind::ENUM, kind::ENUM64], name);
        let mut all = enums.chain(self.types_named(&[kind::TYPEDEF], name));
        all.find_map(|ty| ty.enum_value(enumerator))
    }

    /// Returns the value of an enumerator of any enum, also of an anonymous one. Negative values are sign-extended to 64 bits. Returns `None`
    /// if enums disagree about the value; use [`Self::enum_value`] then.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<u64> {
        let mut values = self.all.iter().flat_map(|source| source.types.find_enumerators(name));
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    }

    /// Finds a function by its name in BTF. Programs can be attached to such functions, and can call those that are kfuncs. A function
    /// that the compiler inlined everywhere is not in BTF.
    ///
    /// Since Linux 7.0, a kfunc `foo` with implicit arguments can have a second function `foo_impl` in BTF, which has
    /// the full prototype of `foo`. `foo_impl` has no address, and programs cannot call it.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Function<'_>> {
        self.functions(name).next()
    }

    /// Finds a kfunc by its name: a function that BTF tags as callable by programs.
    ///
    /// Kernels before 6.10 and those built with pahole before 1.26 have no such tags (see [`Self::has_kfunc_tags`]).
    /// For these kernels, use [`Self::function`].
    #[must_use]
    pub fn kfunc(&self, name: &str) -> Option<Function<'_>> {
        self.functions(name).find(|function| function.is_tagged(KFUNC))
    }

    /// Returns whether the BTF tags kfuncs. Without tags, [`Self::kfunc`] finds no function.
    #[must_use]
    pub fn has_kfunc_tags(&self) -> bool {
        self.all.iter().any(|source| source.types.find_tagged(KFUNC).next().is_some())
    }

    fn types_named<'a, 'n>(&'a self, kinds: &'n [u32], name: &'n str) -> impl Iterator<Item = Type<'a>> + use<'a, 'n> {
        self.all.iter().flat_map(move |Source { types, module }| {
            types.find_named(kinds, name).map(|id| Type { types, id, module: module.as_deref() })
        })
    }

    fn functions<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = Function<'a>> + use<'a, 'n> {
        self.all.iter().flat_map(move |Source { types, module }| {
            types.find_named(&[kind::FUNC], name).map(|id| Function { types, id, module: module.as_deref() })
        })
    }
}

impl fmt::Debug for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let modules = self.all.iter().filter_map(|source| source.module.as_deref());
        f.debug_struct("Types")
            .field("modules", &modules.collect::<Vec<_>>())
            .field("unread", &self.unread)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Bytes;
    use crate::btf::testing::Btf;

    fn types() -> Types {
        let mut btf = Btf::new();
        let int = btf.int("int", 4, true);
        let long = btf.int("unsigned long", 8, false);
        let inner = btf.structure("inner", 8, &[("deep", int, 32)]);
        let anonymous = btf.union("", 8, &[("as_long", long), ("parts", inner)]);
        let outer = btf.structure("outer", 24, &[("first", int, 0), ("", anonymous, 64), ("more", inner, 128)]);
        btf.typedef("outer_t", outer);
        btf.bitfields("flags", 4, &[("low", int, 0, 3), ("high", int, 3, 29)]);
        btf.enumeration("color", true, &[("RED", -1), ("GREEN", 2)]);
        btf.enumeration64("wide", &[("WIDE", 1 << 40), ("GREEN", 2)]);
        btf.enumeration("", false, &[("ANON", 7), ("RED", 5)]);
        let pointer = btf.pointer(outer);
        let prototype = btf.named_function_type(int, &[("what", pointer), ("", 0)]);
        let called = btf.add("called", kind::FUNC, false, 0, prototype, &[]);
        btf.add("plain", kind::FUNC, false, 0, prototype, &[]);
        btf.add("bpf_kfunc", kind::DECL_TAG, false, 0, called, &[u32::MAX]);
        Types::of(btf.shared(), None, "the test")
    }

    #[test]
    fn types_are_found_by_their_names_in_c() {
        let types = types();
        let size = |name| types.find(name).and_then(|ty| ty.size());
        assert_eq!(
            ["outer", "struct outer", "outer_t", "unsigned long", "flags"].map(size),
            [24, 24, 24, 8, 4].map(Some)
        );
        assert_eq!(["union outer", "enum outer", "struct", "outer ", "", "struct outer_t"].map(size), [None; 6]);
        assert_eq!(types.find("enum color").unwrap().to_string(), "enum color");
        assert_eq!(types.find("outer_t").unwrap().resolved(), types.find("outer").unwrap());
    }

    #[test]
    fn members_are_found_by_paths() {
        let types = types();
        let member = |path| types.member("outer_t", path);
        let offset = |path| member(path).map(|member| member.offset());
        assert_eq!(["first", "as_long", "parts", "parts.deep", "more.deep"].map(offset), [0, 8, 8, 12, 20].map(Some));
        assert_eq!(["", "deep", "parts.", ".first", "first.x", "parts.deep.x"].map(offset), [None; 6]);
        assert_eq!(member("parts").unwrap().to_string(), "struct inner parts");
        assert_eq!(member("more.deep").unwrap().ty().name(), "int");
        let high = types.member("struct flags", "high").unwrap();
        assert_eq!((high.bit_offset(), high.bit_size(), high.offset(), high.size()), (3, Some(29), 0, Some(4)));
        assert_eq!(
            (high.to_string(), types.member("flags", "low").unwrap().bit_offset()),
            ("int high: 29".to_owned(), 0)
        );
        let names: Vec<_> = types.find("outer").unwrap().members().map(|member| member.name()).collect();
        assert_eq!(names, ["first", "", "more"]);
    }

    #[test]
    fn enumerators_of_an_enum_and_of_any() {
        let types = types();
        assert_eq!(types.enum_value("color", "RED"), Some(u64::MAX));
        assert_eq!((types.enum_value("enum wide", "WIDE"), types.enum_value("color", "WIDE")), (Some(1 << 40), None));
        assert_eq!(
            ["ANON", "GREEN", "WIDE", "BLUE"].map(|name| types.enumerator(name)),
            [Some(7), Some(2), Some(1 << 40), None]
        );
        assert_eq!(types.enumerator("RED"), None, "it is -1 in one enum and 5 in another");
    }

    #[test]
    fn functions_have_prototypes() {
        let types = types();
        let called = types.function("called").unwrap();
        assert_eq!(called.prototype(), "int called(struct outer *what, ...)");
        assert_eq!(
            called.parameters().map(|(name, ty)| format!("{name}: {ty}")).collect::<Vec<_>>(),
            ["what: struct outer *", ": void"]
        );
        assert!(types.has_kfunc_tags() && types.kfunc("called").is_some());
        assert!(
            types.function("plain").is_some() && types.kfunc("plain").is_none() && types.function("outer").is_none()
        );
    }

    #[test]
    fn endless_types_end() {
        // An anonymous struct that contains itself.
        let mut btf = Btf::new();
        btf.structure("", 8, &[("", 1, 0)]);
        btf.structure("outer", 8, &[("", 1, 0), ("", 1, 0)]);
        let types = Types::of(btf.shared(), None, "the test");
        assert!(types.member("outer", "x").is_none() && types.find("outer").unwrap().members().count() == 2);
    }

    #[test]
    fn incomplete_types_are_reported_and_not_continued() {
        let mut btf = Btf::new();
        btf.structure("known", 8, &[]);
        btf.add("odd", 20, false, 0, 0, &[]);
        let types = Types::of(btf.shared(), None, "the test");
        let unread: Vec<_> = types.unread().collect();
        assert_eq!(
            unread,
            [
                "the test could not be read completely: type [2] has unknown kind 20, and there is no kind layout that gives its size"
            ]
        );
        assert!(types.find("struct known").is_some());
        // Its own ids would be those of missing types.
        let bytes = Bytes::Owned(Btf::new().bytes());
        let error = btf::Types::new(bytes, Some(btf.shared()), 8).err();
        assert!(error.is_some_and(|error| error.contains("continues BTF that cannot be read completely")));
    }

    #[test]
    fn types_can_be_shared_between_threads() {
        fn is_shared<T: Send + Sync>(_: &T) {}
        is_shared(&types());
    }

    #[test]
    fn types_of_this_kernel() {
        let Ok(types) = Types::load() else {
            eprintln!("skipped: this kernel has no BTF");
            return;
        };
        let next = types.member("struct list_head", "next").unwrap();
        assert_eq!((next.offset(), next.to_string()), (0, "struct list_head *next".to_owned()));
        assert_eq!(types.enum_value("bpf_map_type", "BPF_MAP_TYPE_RINGBUF"), Some(27));
    }
}
