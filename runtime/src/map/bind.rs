//! Typed handles of existing maps, by name: from a loaded skeleton or from a directory of pins.
//!
//! `#[derive(Maps)]` implements [`Maps`] for a struct of handles. The type and the sizes of each map are checked. If
//! both the map's BTF and the Rust types describe the layout of keys and values, the layouts are compared.

use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FromFd, Info, Opened, Untyped};
use crate::btf::{Types, kind};
use crate::data::{Layout, LayoutField, label};
use crate::error::{Error, Result, Step, Subject};
use crate::escape::Line;
use crate::kernel::causes;
use crate::opened::Kind;
use crate::pins::{self, PinPath};
use crate::sys;

/// A source of maps that are found by name.
///
/// ```
/// use std::os::fd::OwnedFd;
/// use skelgen_runtime::{Result, map::{Array, FindMap, bind}};
///
/// /// Maps that were received over a socket, for example.
/// struct Received(Vec<(String, OwnedFd)>);
///
/// impl FindMap for Received {
///     fn find_map(&self, name: &str) -> Result<Option<OwnedFd>> {
///         let found = self.0.iter().find(|(known, _)| known == name);
///         Ok(found.and_then(|(_, fd)| fd.try_clone().ok()))
///     }
///
///     fn what(&self) -> String {
///         "socket /run/maps".to_owned()
///     }
/// }
///
/// let none: Result<Array<u64>> = bind(&Received(Vec::new()), "counts");
/// assert_eq!(none.unwrap_err().to_string(), "socket /run/maps has no map `counts`");
/// ```
pub trait FindMap {
    /// Returns a file descriptor of the map with this name, or `None` if it does not exist.
    ///
    /// # Errors
    /// If the map exists and cannot be opened.
    fn find_map(&self, name: &str) -> Result<Option<OwnedFd>>;

    /// Describes the source for error messages, such as "object `counters`".
    fn what(&self) -> String;
}

/// A directory in a bpffs in which maps are pinned by name.
///
/// ```no_run
/// use skelgen_runtime::map::{Array, Pins, bind};
/// let counts: Array<u64> = bind(&Pins::new("/sys/fs/bpf/counters"), "counts")?;
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pins(Dir);

#[derive(Clone, Debug)]
enum Dir {
    Path(PathBuf),
    Open(Arc<OwnedFd>),
}

impl Pins {
    /// Creates a source of the maps that are pinned in this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self(Dir::Path(dir.into()))
    }

    /// Creates a source of the maps that are pinned in an open directory (Linux 6.5). `dir` is a `File` or any other
    /// owner of the directory's file descriptor.
    ///
    /// ```no_run
    /// # fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use skelgen_runtime::map::{Array, Pins, bind};
    ///
    /// let pins = Pins::in_dir(std::fs::File::open("/sys/fs/bpf/counters")?);
    /// let counts: Array<u64> = bind(&pins, "counts")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_dir(dir: impl Into<OwnedFd>) -> Self {
        Self(Dir::Open(Arc::new(dir.into())))
    }
}

impl FindMap for Pins {
    fn find_map(&self, name: &str) -> Result<Option<OwnedFd>> {
        let (path, pin);
        match &self.0 {
            Dir::Path(dir) => {
                path = dir.join(name);
                pin = PinPath::new(&path);
            }
            Dir::Open(dir) => pin = PinPath::at(dir.as_fd(), Path::new(name)),
        }
        match pin.open()? {
            Ok(fd) => Ok(Some(fd)),
            Err(errno) if errno.raw() == libc::ENOENT => Ok(None),
            Err(errno) => {
                let path = pin.shown();
                let error =
                    pins::refused(path, format_args!("cannot open the map pinned at {}", path.display()), errno);
                let error = if let Dir::Open(_) = self.0 { causes::relative_pin(error) } else { error };
                Err(error.during(Step::Open).about(Subject::Map(name)))
            }
        }
    }

    fn what(&self) -> String {
        match &self.0 {
            Dir::Path(dir) => format!("directory {}", dir.display()),
            Dir::Open(dir) => format!("directory {}", pins::path_of(dir.as_fd()).display()),
        }
    }
}

/// A struct of typed map handles; `#[derive(Maps)]` implements it.
///
/// ```no_run
/// # #[cfg(feature = "derive")]
/// # mod example {
/// use skelgen_runtime::Maps; // the trait and the derive
/// use skelgen_runtime::map::{Array, HashMap};
///
/// #[derive(Maps)]
/// struct Tables {
///     counts: Array<u64>,
///     flows: HashMap<u32, u64>,
/// }
///
/// fn open() -> skelgen_runtime::Result<Tables> {
///     Tables::from_pins("/sys/fs/bpf/counters")
/// }
/// # }
/// ```
pub trait Maps: Sized {
    /// Opens every map of the struct by its name: in the `maps` of a loaded skeleton, in [`Pins`], or in any other
    /// source.
    ///
    /// # Errors
    /// If a map does not exist or does not match its field: its type or a size differs, or the layout of keys or
    /// values, if both the map's BTF and the Rust type describe it. For layouts, the error shows both side by side.
    fn bind(from: &dyn FindMap) -> Result<Self>;

    /// Opens every map of the struct by its name in a directory of pins.
    ///
    /// # Errors
    /// Those of [`Self::bind`].
    fn from_pins(dir: impl AsRef<Path>) -> Result<Self> {
        Self::bind(&Pins::new(dir.as_ref()))
    }
}

/// A possible type of a field in a struct of maps: a handle, or an [`Option`] of one for a map that may be missing.
///
/// ```no_run
/// use skelgen_runtime::map::{Array, Pins, bind};
/// let debug: Option<Array<u64>> = bind(&Pins::new("/sys/fs/bpf/counters"), "debug")?;
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a map handle",
    label = "not a map handle",
    note = "map handles are the types of `skelgen_runtime::map`, such as `HashMap<K, V>`, and `Option`s of them"
)]
pub trait BindMap: Sized {
    /// Creates the handle from the map that was found with this name.
    ///
    /// # Errors
    /// Those of [`Maps::bind`].
    #[doc(hidden)]
    fn bind_map(found: Option<OwnedFd>, name: &'static str, from: &dyn FindMap) -> Result<Self>;
}

impl<M: FromFd> BindMap for M {
    fn bind_map(found: Option<OwnedFd>, name: &'static str, from: &dyn FindMap) -> Result<Self> {
        match found {
            Some(fd) => checked(fd, name),
            None => Err(Error::not_found(format_args!("{} has no map `{name}`", from.what()))
                .during(Step::Open)
                .about(Subject::Map(name))),
        }
    }
}

impl<M: FromFd> BindMap for Option<M> {
    fn bind_map(found: Option<OwnedFd>, name: &'static str, _: &dyn FindMap) -> Result<Self> {
        found.map(|fd| checked(fd, name)).transpose()
    }
}

/// Opens one map by its name, as [`Maps`] does for each field.
///
/// # Errors
/// Those of [`Maps::bind`].
pub fn bind<M: BindMap>(from: &dyn FindMap, name: &'static str) -> Result<M> {
    M::bind_map(from.find_map(name)?, name, from)
}

/// Creates the handle of a map that was found, after comparing the layouts of its Rust types with the map's BTF.
fn checked<M: FromFd>(fd: OwnedFd, name: &'static str) -> Result<M> {
    if let Some(other) = Kind::Map.other(fd.as_fd()) {
        return Err(Error::mismatch(format_args!("`{name}` is not a map, but {other}"))
            .during(Step::Open)
            .about(Subject::Map(name)));
    }
    let refused = |errno| {
        Error::refused(format_args!("map `{name}`: cannot read its definition"), errno)
            .during(Step::Open)
            .about(Subject::Map(name))
    };
    let (map, found) = sys::map::Map::adopt(fd).map_err(refused)?;
    let info = Info { name, data_size: found.value_size, section_size: found.value_size, inner: None, frozen: None };
    compared(M::from_fd(Opened(map), &info), &found, name)
}

/// Opens a map that is pinned at a path. `check` compares its type and sizes with those of the handle.
pub(crate) fn open_pinned<M: FromFd>(path: &Path, check: fn(Untyped) -> Result<M>) -> Result<M> {
    let fd = Kind::Map.pinned(path)?;
    let opened = Untyped::described(fd).and_then(|(map, found)| {
        let name = map.name().to_owned();
        compared(check(map), &found, &name)
    });
    opened.map_err(|error| {
        error.within(format_args!("cannot open the map pinned at {}", path.display())).about(Subject::Path(path))
    })
}

/// Adds the difference between the layouts in the map's BTF and those of the handle's types to the result of comparing
/// types and sizes.
fn compared<M: FromFd>(handle: Result<M>, found: &sys::attr::MapInfo, name: &str) -> Result<M> {
    match (handle, other_layout::<M>(found, name)?) {
        (Ok(_), Some(Other { what, sides })) => Err(Error::mismatch(format_args!("map `{name}`: {what}"))
            .during(Step::Open)
            .about(Subject::Map(name))
            .details(sides)),
        // The difference between the layouts explains why a size differs.
        (Err(error), Some(Other { what, sides })) => Err(error.note(what).details(sides)),
        (handle, None) => handle,
    }
}

/// A difference between the keys or values of a map and the types of its handle.
struct Other {
    what: String,
    /// Both layouts side by side, one member per line.
    sides: String,
}

/// Returns the difference between the layouts in the map's BTF and those of the handle's types. Returns `None` if they
/// match, or if either side does not describe the layout.
fn other_layout<M: FromFd>(found: &sys::attr::MapInfo, name: &str) -> Result<Option<Other>> {
    let refused = |errno| {
        Error::refused(format_args!("map `{name}`: cannot read its definition"), errno)
            .during(Step::Open)
            .about(Subject::Map(name))
    };
    let (key, value) = M::layouts();
    if found.btf_id == 0 || key.is_none() && value.is_none() {
        return Ok(None);
    }
    let btf = match sys::btf::open(found.btf_id, None) {
        Ok(btf) => btf,
        // A process can have the right to use a map, but not to open BTF by its id. Then only the sizes are compared.
        Err(errno) if errno.raw() == libc::EPERM => return Ok(None),
        Err(errno) => return Err(refused(errno)),
    };
    let types = types(btf.as_fd()).map_err(|error| error.within(format_args!("map `{name}`")))?;
    for (what, id, layout) in [("keys", found.btf_key_type_id, key), ("values", found.btf_value_type_id, value)] {
        let Some(layout) = layout.filter(|_| id != 0) else { continue };
        if let Err(sides) = compare(&types, id, layout) {
            return Ok(Some(Other { what: format!("the {what} do not have the layout of `{}`", layout.name), sides }));
        }
    }
    Ok(None)
}

/// Returns a duplicate of a map's file descriptor, if there is one.
///
/// # Errors
/// If the file descriptor cannot be duplicated.
pub(crate) fn duplicate(name: &str, fd: Option<BorrowedFd<'_>>) -> Result<Option<OwnedFd>> {
    let fd = fd.map(|fd| fd.try_clone_to_owned()).transpose();
    fd.map_err(|error| {
        Error::io(format_args!("map `{name}`: cannot duplicate its file descriptor"), &error)
            .during(Step::Open)
            .about(Subject::Map(name))
    })
}

fn types(btf: BorrowedFd<'_>) -> Result<Types> {
    let bytes = sys::btf::read(btf).map_err(|errno| Error::refused("cannot read the map's BTF", errno))?;
    Types::of_program(bytes)
        .map_err(|why| Error::malformed(format_args!("the map's BTF is malformed: {why}")).during(Step::ReadKernel))
}

/// Compares the layout of a Rust struct, or of the element type of an array, with that of a BTF type, including nested
/// structs. The error is the text of both layouts, side by side.
fn compare(types: &Types, id: u32, ours: &Layout) -> std::result::Result<(), String> {
    let id = types.innermost(id);
    if !matches!(types.kind(id), kind::STRUCT | kind::UNION) {
        // An integer or an array cannot be compared with a struct, except by size, which the caller did.
        return Ok(());
    }
    let theirs: Vec<Member> = types
        .members(id)
        .filter(|member| !member.name.is_empty())
        .map(|member| Member {
            name: member.name.to_owned(),
            ty: member.ty,
            offset: usize::try_from(member.bit_offset / 8).unwrap_or(usize::MAX),
            // Bitfields have no size in bytes, and the Rust field that contains them has a different name.
            size: if member.bit_size == 0 {
                types.size(member.ty).and_then(|size| usize::try_from(size).ok())
            } else {
                None
            },
        })
        .collect();
    let fields: Vec<&LayoutField> = ours.fields.iter().filter(|field| !field.is_padding()).collect();
    let alike = |field: &LayoutField, member: &Member| {
        field.offset == member.offset && member.size.is_none_or(|size| size == field.size)
    };
    // A member that both sides have must be at the same offset in both. A member that only one side has must overlap a
    // field of the other.
    let field_fits = |field: &&LayoutField| match theirs.iter().find(|member| member.name == label(field.name)) {
        Some(member) => alike(field, member),
        None => theirs.iter().any(|member| alike(field, member)),
    };
    let member_fits = |member: &Member| match fields.iter().find(|field| member.name == label(field.name)) {
        Some(field) => alike(field, member),
        None => member.size.is_none() || fields.iter().any(|field| alike(field, member)),
    };
    let size = types.size(id).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    if size == ours.size && fields.iter().all(field_fits) && theirs.iter().all(member_fits) {
        return fields.iter().try_for_each(|field| {
            let member = theirs.iter().find(|member| member.name == label(field.name));
            let member = member.or_else(|| theirs.iter().find(|member| alike(field, member)));
            let (Some(member), Some(inner)) = (member, field.layout) else { return Ok(()) };
            compare(types, member.ty, inner).map_err(|sides| format!("    in `{}`:\n{sides}", label(field.name)))
        });
    }
    let mut left = vec![format!("`{}`, {} bytes", ours.name, ours.size)];
    left.extend(
        ours.fields
            .iter()
            .map(|field| format!("{}{field}", if field.is_padding() || field_fits(&field) { ' ' } else { '>' })),
    );
    let mut right = vec![format!(
        "`{} {}` of the map, {size} bytes",
        if types.kind(id) == kind::UNION { "union" } else { "struct" },
        Line(types.name(id))
    )];
    right.extend(theirs.iter().map(|member| format!("{}{member}", if member_fits(member) { ' ' } else { '>' })));
    let width = left.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for index in 0..left.len().max(right.len()) {
        let line = |side: &[String]| side.get(index).cloned().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", format!("    {:width$}  |  {}", line(&left), line(&right)).trim_end());
    }
    Err(text.trim_end().to_owned())
}

/// A member of a struct or union in BTF.
struct Member {
    name: String,
    ty: u32,
    offset: usize,
    /// The size in bytes, or `None` for a bitfield.
    size: Option<usize>,
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.size {
            Some(size) => write!(f, "{:>5}  {} ({size} bytes)", self.offset, Line(&self.name)),
            None => write!(f, "{:>5}  {} (bits)", self.offset, Line(&self.name)),
        }
    }
}
