//! Traits that every skeleton implements, for code that works with any object.
//!
//! The macro `skeleton!` implements them for each generated skeleton. To add a method to all skeletons, add a provided method here; if
//! the method depends on the names and types of the object, add it to the macro.

mod attached;
mod loading;
mod prepared;

use crate::error::Result;
use crate::execute::Loaded;
use crate::link::{Left, Link, StructOps};
use crate::map::Untyped;
use crate::open::{LoadOptions, OpenMap, OpenProgram};
use crate::program::Program;

pub use attached::Attached;
pub use loading::Loading;
pub use prepared::Prepared;

/// An object before the load. The type `Open` of every skeleton implements this trait.
///
/// The fields of a skeleton have the names and types of one object. With this trait, code for any object finds maps and programs by
/// name, or iterates over them.
///
/// ```
/// use skelgen_runtime::{OpenObject, uapi::MapType};
///
/// /// Pins the global data of any object, so that the next version of the program continues with it, and loads only some programs.
/// fn configure(open: &mut impl OpenObject, wanted: &[&str]) {
///     for map in open.maps_mut().filter(|map| matches!(map.name(), ".data" | ".bss")) {
///         map.set_pin_path(format!("/sys/fs/bpf/counter/{}", &map.name()[1..]));
///     }
///     for program in open.programs_mut() {
///         program.set_autoload(wanted.contains(&program.name()));
///     }
/// }
/// ```
pub trait OpenObject: Sized {
    /// The loaded object.
    type Loaded: Object;

    /// Returns the name of the object.
    fn name(&self) -> &'static str;

    /// Iterates over the maps, including those of global data and struct_ops.
    fn maps(&self) -> impl Iterator<Item = &OpenMap>;

    /// Iterates over the maps, for modification.
    fn maps_mut(&mut self) -> impl Iterator<Item = &mut OpenMap>;

    /// Iterates over the programs.
    fn programs(&self) -> impl Iterator<Item = &OpenProgram>;

    /// Iterates over the programs, for modification.
    fn programs_mut(&mut self) -> impl Iterator<Item = &mut OpenProgram>;

    /// Returns the options of the load, for modification.
    fn options_mut(&mut self) -> &mut LoadOptions;

    /// Returns the settings of the load.
    #[doc(hidden)]
    fn into_loading(self) -> Loading;

    /// Returns the map with this name in the source. For a section of global data, this is the section's name, such as
    /// `.bss`.
    fn map(&self, name: &str) -> Option<&OpenMap> {
        self.maps().find(|map| map.name() == name)
    }

    /// Returns the map with this name, for modification.
    fn map_mut(&mut self, name: &str) -> Option<&mut OpenMap> {
        self.maps_mut().find(|map| map.name() == name)
    }

    /// Returns the program with this name in the source.
    fn program(&self, name: &str) -> Option<&OpenProgram> {
        self.programs().find(|program| program.name() == name)
    }

    /// Returns the program with this name, for modification.
    fn program_mut(&mut self, name: &str) -> Option<&mut OpenProgram> {
        self.programs_mut().find(|program| program.name() == name)
    }

    /// Creates the maps, but does not load the programs yet. See [`Prepared`].
    ///
    /// # Errors
    /// If a setting is not valid, or the kernel rejects a map or lacks a symbol that the object requires. On error, nothing stays loaded.
    fn prepare(self) -> Result<Prepared<Self::Loaded>> {
        Prepared::new(self.into_loading())
    }

    /// Loads every map and program.
    ///
    /// # Errors
    /// If a setting is not valid, or the kernel rejects a map or program or lacks a symbol that the object requires. The error has the step
    /// and its subject. On error, nothing stays loaded.
    fn load(self) -> Result<Self::Loaded> {
        Self::Loaded::from_loaded(self.into_loading().load()?)
    }
}

/// A loaded object. The type `Skeleton` of every skeleton implements this trait.
///
/// ```
/// use skelgen_runtime::Object;
///
/// /// Prints what an object has in the kernel.
/// fn list(object: &impl Object) {
///     for map in object.maps() {
///         println!("map {}: {}, {} bytes each", map.name(), map.map_type(), map.value_len());
///     }
///     for program in object.programs().filter(|program| program.is_loaded()) {
///         println!("program {}: {}", program.name(), program.program_type());
///     }
/// }
/// ```
pub trait Object: Sized {
    /// The links of the attached object.
    type Links: Links;

    /// Returns the name of the object.
    fn name(&self) -> &'static str;

    /// Iterates over the maps that were created, including those of global data.
    fn maps(&self) -> impl Iterator<Item = &Untyped>;

    /// Iterates over the programs, including those that are not loaded.
    fn programs(&self) -> impl Iterator<Item = &Program>;

    /// Iterates over the struct_ops maps.
    fn struct_ops(&self) -> impl Iterator<Item = &StructOps>;

    /// Attaches every program whose attach target is known, and registers every struct_ops map.
    ///
    /// # Errors
    /// If the kernel rejects an attachment, or every program needs an argument to attach. On error, nothing stays
    /// attached.
    fn attach(&self) -> Result<Self::Links>;

    /// Creates the skeleton from the loaded maps and programs.
    #[doc(hidden)]
    fn from_loaded(loaded: Loaded) -> Result<Self>;

    /// Returns the map with this name in the source. For a section of global data, this is the section's name, such as
    /// `.bss`.
    fn map(&self, name: &str) -> Option<&Untyped> {
        self.maps().find(|map| map.name() == name)
    }

    /// Returns the program with this name in the source.
    fn program(&self, name: &str) -> Option<&Program> {
        self.programs().find(|program| program.name() == name)
    }

    /// Returns how often programs of the object did not run because they were already running on the same CPU: the sum of
    /// [`ProgramInfo::recursion_misses`](crate::ProgramInfo::recursion_misses) of all loaded programs, or `None` if the kernel does not
    /// count them (before Linux 5.12).
    ///
    /// ```
    /// use skelgen_runtime::Object;
    ///
    /// /// Warns if events are missing.
    /// fn check(object: &impl Object) -> skelgen_runtime::Result<()> {
    ///     if let Some(missed @ 1..) = object.recursion_misses()? {
    ///         eprintln!("{missed} events were not seen");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// If the kernel does not describe a program.
    fn recursion_misses(&self) -> Result<Option<u64>> {
        let loaded = self.programs().filter(|program| program.is_loaded());
        let misses = loaded.map(|program| program.info().map(|info| info.recursion_misses));
        misses
            .reduce(|sum, misses| Ok(sum?.zip(misses?).map(|(sum, misses)| sum.saturating_add(misses))))
            .unwrap_or(Ok(None))
    }

    /// Attaches as [`Self::attach`] does, and returns the object together with its links, so that it stays attached until it is dropped.
    ///
    /// # Errors
    /// Those of [`Self::attach`]. On error, the object is dropped.
    fn into_attached(self) -> Result<Attached<Self>> {
        Attached::new(self)
    }
}

/// The links of an attached object. The type `Links` of every skeleton implements this trait.
///
/// ```no_run
/// # fn f(skeleton: &impl skelgen_runtime::Object) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::Links;
///
/// let links = skeleton.attach()?;
/// for (name, link) in links.iter() {
///     println!("{name}: link {}", link.info()?.id);
/// }
/// for left in links.left() {
///     println!("{left}");
/// }
/// # Ok(())
/// # }
/// ```
pub trait Links {
    /// Iterates over the links with the names of their fields.
    fn iter(&self) -> impl Iterator<Item = (&'static str, &Link)>;

    /// Iterates over the programs that were not attached, with the reason.
    fn left(&self) -> impl Iterator<Item = &Left>;
}
