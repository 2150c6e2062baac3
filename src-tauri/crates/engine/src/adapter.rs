//! The adapter: what the platform's errors are to a player, and which one the party has now.

use crate::spare::fault_of;
use lanrage_core::io::AdapterPlan;
use lanrage_platform::adapter::{Adapter, AdapterConfig, AdapterError};
use lanrage_platform::rights;
use lanrage_proto::{Fault, FaultCode};

/// Whether an adapter can be expected to be had, without making one.
///
/// # Errors
/// `no_rights`, `no_tun_device`, `system_unsupported`.
pub(crate) fn possible() -> Result<(), Fault> {
    rights::may_create_adapter().map_err(|error| fault(&error))
}

/// Makes the adapter as planned.
///
/// # Errors
/// `no_rights`, `no_tun_device`, `adapter_busy`, `adapter_failed`, `system_unsupported`.
pub(crate) fn open(plan: AdapterPlan, name: Option<String>) -> Result<Adapter, Fault> {
    let config = AdapterConfig {
        name,
        address: plan.address,
        prefix: plan.range.prefix(),
        mtu: plan.mtu,
    };
    Adapter::open(config).map_err(|error| fault(&error))
}

/// The adapter was there and somebody removed it.
pub(crate) fn gone() -> Fault {
    Fault::new(FaultCode::AdapterFailed).with("reason", "somebody removed it")
}

fn fault(error: &AdapterError) -> Fault {
    match error {
        AdapterError::NoRights(_) => FaultCode::NoRights.into(),
        AdapterError::NoDevice(_) => FaultCode::NoTunDevice.into(),
        AdapterError::Busy { name } => Fault::new(FaultCode::AdapterBusy).with("name", name),
        AdapterError::Invalid { .. } => Fault::new(FaultCode::AdapterFailed).with("reason", error),
        AdapterError::Other { source, .. } => {
            let failed = Fault::new(FaultCode::AdapterFailed).with("reason", format!("{error}: {source}"));
            fault_of(source, failed)
        }
        AdapterError::Unsupported(_) => {
            Fault::new(FaultCode::SystemUnsupported).with("system", std::env::consts::OS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn each_reason_has_its_own_fault() {
        let other = || io::Error::from(io::ErrorKind::Other);
        for (error, code) in [
            (AdapterError::NoRights(other()), FaultCode::NoRights),
            (AdapterError::NoDevice(other()), FaultCode::NoTunDevice),
            (AdapterError::Busy { name: "x".into() }, FaultCode::AdapterBusy),
            (
                AdapterError::Invalid {
                    what: "the name a/b".into(),
                },
                FaultCode::AdapterFailed,
            ),
        ] {
            assert_eq!(fault(&error).code, code);
        }
        let failed = fault(&AdapterError::Other {
            step: "setting the adapter's address",
            source: other(),
        });
        assert!(failed.details["reason"].contains("setting the adapter's address"));
    }
}
