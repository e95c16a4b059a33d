//! The commands of the tool, each in its own file.
//!
//! To add a command, write a file here with a type that derives [`clap::Args`] and implements [`Execute`], and add its
//! `mod` line and its line to `commands!`. The type's documentation is the command's help.

mod check;
mod completions;
mod explain;
mod generate;
mod header;
mod inspect;
mod layout;
mod link;
mod load;
mod man;
mod min_btf;
mod plan;
mod types;

use clap::Subcommand;

use super::screen::Screen;
use crate::error::Result;

/// A command: its fields are its arguments.
pub(super) trait Execute {
    /// Executes the command. An error about one of several inputs is printed, and the command continues with the next
    /// input.
    ///
    /// # Errors
    /// An error that ends the command.
    fn execute(self, screen: &mut Screen) -> Result<()>;
}

/// Declares the commands: the name in upper camel case, and the type of the arguments. The help text lists them in this
/// order.
macro_rules! commands {
    ($($name:ident => $args:ty,)*) => {
        #[derive(Subcommand)]
        pub(super) enum Command {
            $($name($args),)*
        }

        impl Command {
            /// Executes the command.
            ///
            /// # Errors
            /// An error that ends the command.
            pub(super) fn execute(self, screen: &mut Screen) -> Result<()> {
                match self {
                    $(Self::$name(command) => command.execute(screen),)*
                }
            }
        }
    };
}

commands! {
    Gen => generate::Generate,
    Link => link::Link,
    Types => types::Types,
    Header => header::Header,
    MinBtf => min_btf::MinBtf,
    Plan => plan::Plan,
    Inspect => inspect::Inspect,
    Layout => layout::Layout,
    Check => check::Check,
    Load => load::Load,
    Explain => explain::Explain,
    Completions => completions::Completions,
    Man => man::Man,
}
