//! Keeps `ui/src/bindings/ipc.ts` current: the test writes nothing, it compares. `LANRAGE_BLESS=1` rewrites it.

use crate::TurnTransport;
use crate::doctor::*;
use crate::fault::{Fault, FaultCode, Why};
use crate::games::Game;
use crate::ipc::*;
use crate::lobby::*;
use crate::settings::*;
use std::path::PathBuf;
use ts_rs::{Config, TS};

fn generated() -> String {
    let config = Config::default();
    let mut out =
        String::from("// Generated from src-tauri/crates/proto; a test there keeps it current.\n\n");
    macro_rules! declare {
        ($($name:ty),+ $(,)?) => { $(out += &format!("export {}\n\n", <$name as TS>::decl(&config));)+ };
    }
    declare![
        Status,
        EngineStatus,
        EngineState,
        ControlStatus,
        ControlMode,
        ControlState,
        NatStatus,
        NatType,
        PartyStatus,
        PartyState,
        MemberStatus,
        PeerState,
        PeerTrouble,
        PathKind,
        Rules,
        RulesChange,
        Sharing,
        LobbyStatus,
        AnnounceStatus,
        AnnounceMember,
        AnnounceReach,
        Listens,
        HeardStatus,
        Game,
        Created,
        Joined,
        Report,
        ControlReport,
        UdpState,
        FamilyReport,
        Mapping,
        Filtering,
        Unproven,
        StunReport,
        FilterReport,
        RelayReport,
        WayReport,
        WayState,
        MappingReport,
        MappingState,
        MappingProtocol,
        HostingReport,
        AdapterReport,
        Change,
        PeerReport,
        Expected,
        PairReport,
        PairBy,
        PairKind,
        PairState,
        PairReason,
        TurnTransport,
        SettingKey,
        SettingsReport,
        EngineSettings,
        StunChoice,
        RelayView,
        RelayChange,
        SettingChange,
        ControlTest,
        LogPage,
        Fault,
        FaultCode,
        Why,
    ];
    out += "export const FAULT_CODES: readonly FaultCode[] = [\n";
    for code in FaultCode::ALL {
        out += &format!("  \"{code}\",\n");
    }
    out += "];\n\nexport const WHYS: readonly Why[] = [\n";
    for why in Why::ALL {
        out += &format!("  \"{why}\",\n");
    }
    out += "];\n\n";
    out += &format!("export const IPC_VERSION = {VERSION};\n");
    out
}

#[test]
fn the_typescript_types_are_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../ui/src/bindings/ipc.ts");
    if std::env::var_os("LANRAGE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, generated()).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == generated(),
        "ui/src/bindings/ipc.ts is not current: run with LANRAGE_BLESS=1"
    );
}
