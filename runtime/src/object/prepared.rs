//! An object whose maps exist and whose programs are not loaded yet.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;

use super::{Loading, Object};
use crate::error::{Error, Result};
use crate::execute::Executor;
use crate::map::{FindMap, duplicate};
use crate::open::OpenProgram;
use crate::program::Program;

/// An object whose maps were created and filled, and whose programs are not loaded yet.
///
/// Use it to fill maps before any program can run, or to load a program several times, each time for a different attach
/// target or with other settings. [`map::bind`](crate::map::bind) returns typed handles of its maps.
///
/// ```no_run
/// use skelgen_runtime::map::{HashMap, bind};
/// use skelgen_runtime::{Link, Object, OpenObject, Result};
///
/// /// Loads one program for several kernel functions.
/// fn trace<O: OpenObject>(open: O, functions: &[&str]) -> Result<(O::Loaded, Vec<Link>)> {
///     let mut prepared = open.prepare()?;
///     let limits: HashMap<u32, u64> = bind(&prepared, "limits")?;
///     limits.insert(&1, &100)?;
///     let links = functions.iter().map(|function| {
///         let program = prepared.load_program("on_entry", |program| {
///             program.set_attach_target(*function);
///         })?;
///         program.attach()
///     });
///     let links = links.collect::<Result<_>>()?;
///     Ok((prepared.load()?, links))
/// }
/// ```
pub struct Prepared<O> {
    executor: Executor,
    object: PhantomData<fn() -> O>,
}

impl<O: Object> Prepared<O> {
    pub(super) fn new(loading: Loading) -> Result<Self> {
        let executor = loading.prepare()?;
        if executor.is_in_kernel() {
            return Err(Error::unsupported(format_args!(
                "object `{}` cannot be loaded in two steps, because one program in the kernel loads it",
                executor.name()
            ))
            .with_help(
                "call `load`, or generate the skeleton with `--loader syscalls` (`Builder::loader`), the default",
            ));
        }
        Ok(Self { executor, object: PhantomData })
    }

    /// Loads an additional copy of the program with this name. `change` modifies the settings of this copy only; any
    /// number of copies can be loaded. The copy is loaded even if auto-load is off.
    ///
    /// # Errors
    /// If the object has no such program, a setting is not valid, or the kernel rejects the program or lacks a symbol that the program
    /// requires.
    pub fn load_program(&mut self, name: &str, change: impl FnOnce(&mut OpenProgram)) -> Result<Program> {
        self.executor.load_once_more(name, change)
    }

    /// Loads the programs, and finishes the load.
    ///
    /// # Errors
    /// If the kernel rejects a program or lacks a symbol that the object requires. On error, nothing of the object stays loaded.
    pub fn load(self) -> Result<O> {
        O::from_loaded(self.executor.complete()?)
    }
}

impl<O> FindMap for Prepared<O> {
    fn find_map(&self, name: &str) -> Result<Option<OwnedFd>> {
        duplicate(name, self.executor.map(name))
    }

    fn what(&self) -> String {
        format!("object `{}`", self.executor.name())
    }
}

impl<O> fmt::Debug for Prepared<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("object", &self.executor.name()).finish_non_exhaustive()
    }
}
