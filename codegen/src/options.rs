//! What can be chosen about a generated file.
//!
//! To add an option: a field here with its default, and the phase that it is for; the command line and the build step each offer it
//! in a method or argument of their own.

use crate::PercpuForm;
use crate::rust::{Layout, Style};

/// The options of a generated file.
///
/// More are added from release to release, each with a default, so values are made by [`Options::for_file`] and changed by field.
///
/// # Examples
/// ```
/// let mut options = skelgen::Options::for_file("counters.bpf.o");
/// options.types.push("event".to_owned());
/// options.optional_maps.push("debug_log".to_owned());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The object's name: the module's name, and the beginning of the kernel's names for global data.
    pub name: String,
    /// Whether the file is a module of its own or holds one.
    pub layout: Layout,
    /// Which forms of programs with percpu data the file holds: by default both, for every kernel.
    pub percpu: PercpuForm,
    /// Types to write though no variable or map has them: names as in C, `event` or `struct event`.
    pub types: Vec<String>,
    /// Whether the types that programs get as their contexts are written.
    pub contexts: bool,
    /// The path of the runtime's crate, as the generated file is to name it.
    pub runtime: String,
    /// Maps that may be left out of a load (`OpenMap::set_autocreate`), by their names: their handles are `Option`s.
    pub optional_maps: Vec<String>,
    /// Maps whose type or sizes are chosen before the load (`OpenMap::set_map_type`), by their names: their handles are for any map.
    pub untyped_maps: Vec<String>,
}

impl Options {
    /// Returns the default options for an object of this file name. The object's name is what comes before the first dot.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(skelgen::Options::for_file("src/bpf/counters.bpf.o").name, "counters");
    /// ```
    #[must_use]
    pub fn for_file(path: impl AsRef<std::path::Path>) -> Self {
        let file = path.as_ref().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = file.split('.').find(|part| !part.is_empty()).unwrap_or("object").to_owned();
        Self {
            name,
            layout: Layout::File,
            percpu: PercpuForm::default(),
            types: Vec::new(),
            contexts: false,
            runtime: "::skelgen_runtime".to_owned(),
            optional_maps: Vec::new(),
            untyped_maps: Vec::new(),
        }
    }

    /// The maps that some option is about.
    pub(crate) fn named_maps(&self) -> impl Iterator<Item = &String> {
        self.optional_maps.iter().chain(&self.untyped_maps)
    }

    pub(crate) fn style(&self) -> Style<'_> {
        Style { layout: self.layout, runtime: &self.runtime }
    }
}
