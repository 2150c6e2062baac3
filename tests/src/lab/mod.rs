//! A lab: several machines on one switch, made of Linux network namespaces.
//!
//! ```text
//!   host 1            host 2            host n
//!   192.168.77.1      192.168.77.2      192.168.77.n
//!   fd77::1           fd77::2           fd77::n
//!      └──────── eth0 ───┴── switch ───────┘      192.168.77.254, forwards nothing
//! ```
//!
//! Each host is a namespace with a loopback, an `eth0` on the switch and a default route that ends there,
//! so no packet of a lab leaves the machine. [`Engine`] and [`Server`] run the real programs in a host and
//! speak to them as a user would: by their command line. Everything is taken down when the last handle of
//! a [`Lab`] is dropped, on a panic as well; what a killed run left behind is removed by the next one.
//!
//! Labs need root, or a user namespace that looks like it: `cargo xtask` makes one where the kernel allows.

mod clean;
mod engine;
mod games;
mod internet;
mod internet_line;
mod internet_router;
mod internet_server;
mod internet_site;
mod internet_upnp;
mod nat;
mod nat_coturn;
mod nat_probe;
mod nat_table;
mod net;
mod party;
mod process;
mod programs;
mod refusal;
mod roaming;
mod server;
mod status;
mod stream;
mod ticker;
mod traffic;
mod turn_server;
mod wait;

pub use engine::{Engine, EngineOptions, Watch};
pub use games::{LOOKS, LanGame};
pub use internet::Internet;
pub use internet_line::Line;
pub use internet_router::Router;
pub use internet_server::PublicServer;
pub use internet_site::{Carrier, Site, SiteOptions};
pub use internet_upnp::{PortOpener, Speaks};
pub use nat::{Behaviour, Dependence, Nat};
pub use nat_coturn::{Coturn, Discovery};
pub use nat_probe::{Mirror, punch};
pub use nat_table::{Seat, Sight, Table, Way, look};
pub use net::{Host, Lab};
pub use party::{Control, Party, scenario};
pub use process::Process;
pub use refusal::Refusal;
pub use roaming::{Roaming, Trouble};
pub use server::Server;
pub use status::{Member, Status};
pub use stream::Stream;
pub use ticker::Ticker;
pub use traffic::{Flow, Ping, echo, first_contact, ping, transfer};
pub use turn_server::TurnServer;
pub use wait::{PATIENCE, eventually, felt};
