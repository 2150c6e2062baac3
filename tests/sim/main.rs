//! Parties in virtual time: what players would notice, and what a control plane that lies can't do.
