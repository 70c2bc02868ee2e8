//! main.cf parameters: the table of all that postscreen(8) reads, and their values.

mod convert;
mod table;
mod values;
mod version;

pub use convert::{BadValue, seconds};
pub use table::TABLE;
pub use values::{Surroundings, Values};
pub use version::{PostfixVersion, Stage};

/// A parameter as postscreen(8) knows it.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name in main.cf.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// Its value when main.cf has none.
    pub default: DefaultValue,
    /// When postscreen(8) fetches it.
    pub fetched: Fetched,
}

/// The type of a value, with its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Text, expanded.
    Str {
        /// The shortest permitted length, in bytes.
        min: usize,
    },
    /// Text that is used without expansion.
    Raw {
        /// The shortest permitted length, in bytes.
        min: usize,
    },
    /// A number of 32 bits.
    Int(Bounds),
    /// A number of 32 bits whose default is an expression.
    Nint(Bounds),
    /// A number of 64 bits.
    Long(Bounds),
    /// A span of time: a number and a unit; bounds in seconds.
    Time(Bounds),
    /// `yes` or `no`.
    Bool,
    /// `yes` or `no`, with an expression as default.
    Nbool,
}

/// The permitted range of a number; `None` is not checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The smallest permitted value.
    pub min: Option<i32>,
    /// The largest permitted value.
    pub max: Option<i32>,
}

impl Bounds {
    /// Any value.
    pub const ANY: Bounds = Bounds { min: None, max: None };

    /// Values from `min` on.
    pub const fn from(min: i32) -> Bounds {
        Bounds { min: Some(min), max: None }
    }

    /// Values up to `max`.
    pub const fn up_to(max: i32) -> Bounds {
        Bounds { min: None, max: Some(max) }
    }
}

/// Where a default comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultValue {
    /// Postfix's source, the same in every build; may contain macros.
    Text(&'static str),
    /// How Postfix was built, or its version: `postconf -d` knows. The text is that of
    /// Debian 12's 3.7.11.
    Build(&'static str),
    /// The host or the process: see [`Surroundings`].
    Computed,
    /// None: the name counts as undefined. (Names from before 3.6, which only the defaults
    /// of the new names refer to.)
    Undefined,
}

/// When postscreen(8) fetches a parameter, which is when it complains about its value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fetched {
    /// First of all, with the logging parameters.
    Early,
    /// Then, what later parameters and tables depend on.
    Switches,
    /// Then, `myhostname` and `mydomain`.
    Host,
    /// With the parameters that all Postfix daemons read.
    Common,
    /// With the parameters of postscreen(8).
    Screen,
    /// With the parameters of postscreen(8), by Postfix 3.12 and later.
    ScreenFrom312,
    /// Never; the name can only be referred to.
    Never,
}

/// The parameter of this name; `None` when postscreen(8) does not know it.
pub fn find(name: &str) -> Option<&'static Param> {
    TABLE.iter().find(|param| param.name == name)
}
