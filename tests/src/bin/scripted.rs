//! A scripted engine on a socket, to look at the window without networking and without rights.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use lanrage_tests::scripted::{Scripted, scenes};

/// Serve the window a scripted engine: create, join and leave play a party that is not there.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; give the window the same as LANRAGE_SOCKET.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// The state to begin with; `help` lists them.
    #[arg(long, value_name = "NAME", default_value = "idle")]
    scene: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let scenes = scenes::all();
    let names: Vec<&str> = scenes.iter().map(|(name, _)| *name).collect();
    let scene = scenes.iter().find(|(name, _)| *name == arguments.scene);
    let (_, scene) = scene.with_context(|| format!("there is {}", names.join(", ")))?;
    let engine = Scripted::start(&arguments.socket)?;
    engine.stage(scene);
    tokio::signal::ctrl_c().await?;
    Ok(())
}
