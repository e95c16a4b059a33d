//! The options of a generated file.
//!
//! To add an option, add a field here with its default, and handle it in its phase. The command line and the build step
//! each offer it with an argument or method of their own.

use crate::PercpuForm;
use crate::rust::{Layout, Style};

/// The options of a generated file.
///
/// New releases may add options, each with a default. Create values with [`Options::for_file`] and set fields.
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
    /// The object's name: the module's name, and the prefix of the kernel's names for global data.
    pub name: String,
    /// Whether the file is a module or contains one.
    pub layout: Layout,
    /// The forms of programs with percpu data in the file. By default both, for all kernels.
    pub percpu: PercpuForm,
    /// Types to generate even if no variable or map uses them, named as in C: `event` or `struct event`.
    pub types: Vec<String>,
    /// Whether to generate the context types of programs.
    pub contexts: bool,
    /// The path of the runtime crate in the generated file.
    pub runtime: String,
    /// Names of maps that may be left out of a load (`OpenMap::set_autocreate`). Their handles are `Option`s.
    pub optional_maps: Vec<String>,
    /// Names of maps whose type or sizes are set before the load (`OpenMap::set_map_type`). Their handles accept any
    /// map type.
    pub untyped_maps: Vec<String>,
}

impl Options {
    /// Returns the default options for an object with this file name. The object's name is the part before the first
    /// dot.
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

    /// Returns the maps that an option names.
    pub(crate) fn named_maps(&self) -> impl Iterator<Item = &String> {
        self.optional_maps.iter().chain(&self.untyped_maps)
    }

    pub(crate) fn style(&self) -> Style<'_> {
        Style { layout: self.layout, runtime: &self.runtime }
    }
}
