//! The values of all possible CPUs, by CPU number, independent of maps.

use std::iter::Sum;

use crate::error::Result;
use crate::sys::cpus::{CpuSet, possible};

/// A value for each possible CPU.
///
/// ```
/// use skelgen_runtime::map::{PerCpu, PercpuArray};
///
/// fn add(counters: &PercpuArray<u64>, index: u32) -> skelgen_runtime::Result<u64> {
///     let values: PerCpu<u64> = counters.get(index)?;
///     Ok(values.sum(|value| *value))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PerCpu<V> {
    pub(super) values: Box<[V]>,
    pub(super) cpus: &'static CpuSet,
}

impl<V> PerCpu<V> {
    /// Creates a value for each possible CPU by calling `make` with the CPU's number.
    ///
    /// # Errors
    /// If the set of possible CPUs cannot be read.
    pub fn from_fn(make: impl FnMut(u32) -> V) -> Result<Self> {
        let cpus = possible()?;
        Ok(Self { values: cpus.iter().map(make).collect(), cpus })
    }

    /// Returns the value of this CPU, or `None` if the CPU is not possible.
    #[must_use]
    pub fn get(&self, cpu: u32) -> Option<&V> {
        self.values.get(self.cpus.position(cpu)?)
    }

    /// Returns the value of this CPU as a mutable reference, or `None` if the CPU is not possible.
    pub fn get_mut(&mut self, cpu: u32) -> Option<&mut V> {
        self.values.get_mut(self.cpus.position(cpu)?)
    }

    /// Iterates over the numbers of the possible CPUs, in ascending order, with their values.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, &V)> + DoubleEndedIterator {
        self.cpus.iter().zip(&self.values)
    }

    /// Combines all values into one, in order of the CPUs.
    pub fn fold<A>(&self, start: A, fold: impl FnMut(A, &V) -> A) -> A {
        self.values.iter().fold(start, fold)
    }

    /// Returns the sum of the results of `part` for each value, such as a field.
    ///
    /// ```
    /// # fn main() -> skelgen_runtime::Result<()> {
    /// use skelgen_runtime::map::PerCpu;
    ///
    /// struct Stat { packets: u64, longest: u32 }
    /// let stats = PerCpu::from_fn(|cpu| Stat { packets: 2, longest: cpu })?;
    /// assert_eq!(stats.sum(|stat| stat.packets), 2 * stats.values().len() as u64);
    /// assert_eq!(stats.max(|stat| stat.longest), stats.iter().last().map_or(0, |(cpu, _)| cpu));
    /// # Ok(()) }
    /// ```
    pub fn sum<N: Sum<N>>(&self, part: impl FnMut(&V) -> N) -> N {
        self.values.iter().map(part).sum()
    }

    /// Returns the maximum of the results of `part` for each value.
    ///
    /// # Panics
    /// Never: the set of possible CPUs is not empty.
    pub fn max<N: Ord>(&self, part: impl FnMut(&V) -> N) -> N {
        self.values.iter().map(part).max().expect("the set of possible CPUs is not empty")
    }

    /// Returns the minimum of the results of `part` for each value.
    ///
    /// # Panics
    /// Never: the set of possible CPUs is not empty.
    pub fn min<N: Ord>(&self, part: impl FnMut(&V) -> N) -> N {
        self.values.iter().map(part).min().expect("the set of possible CPUs is not empty")
    }

    /// Returns the values, in order of the possible CPUs.
    #[must_use]
    pub fn values(&self) -> &[V] {
        &self.values
    }
}

impl<'v, V> IntoIterator for &'v PerCpu<V> {
    type Item = (u32, &'v V);
    type IntoIter = std::iter::Zip<<&'static CpuSet as IntoIterator>::IntoIter, std::slice::Iter<'v, V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.cpus.into_iter().zip(&self.values)
    }
}

impl<V> IntoIterator for PerCpu<V> {
    type Item = (u32, V);
    type IntoIter = std::vec::IntoIter<(u32, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.cpus.iter().zip(self.values).collect::<Vec<_>>().into_iter()
    }
}
