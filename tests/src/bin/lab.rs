//! A party of real engines in network namespaces, to look at and to play with: `cargo xtask lab`.

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> anyhow::Result<()> {
    anyhow::bail!("a lab is made of network namespaces, which only Linux has")
}

#[cfg(target_os = "linux")]
mod linux {
    use std::env;
    use std::io;
    use std::sync::mpsc;
    use std::thread;

    use anyhow::{Context, Result};
    use clap::Parser;
    use lanrage_tests::lab::{Control, Party, ping, scenario};

    /// How to step into a lab that stands in namespaces of its own; set by whoever made them.
    const ENTER: &str = "LANRAGE_LAB_ENTER";

    /// Raise real engines in network namespaces, make a party of them and print their pings.
    #[derive(Parser)]
    struct Arguments {
        /// How many members.
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=20))]
        members: u8,
        /// Let the party live on a lanrage-server instead of its founder's engine.
        #[arg(long)]
        server: bool,
        /// Keep everything up until Enter or Ctrl-C.
        #[arg(long)]
        keep: bool,
    }

    pub(super) fn main() -> Result<()> {
        let arguments = Arguments::parse();
        let control = if arguments.server {
            Control::Server
        } else {
            Control::Local
        };
        let stopped = on_stop()?;
        scenario("lab", |lab| {
            let party = Party::start(lab, arguments.members.into(), control)?;
            print_pings(&party)?;
            if arguments.keep {
                print_doors(&party);
                end_on_enter(stopped.0);
                // An error would mean that nobody is left who could say when to stop.
                let _ = stopped.1.recv();
                println!("Taking the lab down.");
            }
            Ok(())
        })
    }

    /// A row per member, a column per member: mean round trip in milliseconds and the path taken.
    fn print_pings(party: &Party) -> Result<()> {
        println!("\nParty {}, pings in ms:", party.id);
        let mut addresses = Vec::new();
        for engine in &party.engines {
            addresses.push(engine.address()?);
        }
        let heads: Vec<String> = addresses.iter().map(|address| format!("{address:>14}")).collect();
        println!("{:>14}{}", "from \\ to", heads.concat());
        for (engine, own) in party.engines.iter().zip(&addresses) {
            let status = engine.status()?;
            let mut row = format!("{own:>14}");
            for address in &addresses {
                let cell = if address == own {
                    "-".to_owned()
                } else {
                    let mean = ping(engine.host(), (*address).into(), 5)?
                        .mean_ms
                        .context("no mean")?;
                    let path = status
                        .peer(*address)?
                        .and_then(|peer| peer.path)
                        .unwrap_or_default();
                    format!("{mean:.2} {path}")
                };
                row += &format!("{cell:>14}");
            }
            println!("{row}");
        }
        Ok(())
    }

    fn print_doors(party: &Party) {
        let enter = env::var(ENTER).map(|enter| enter + " ").unwrap_or_default();
        println!("\nThe lab stays up. From another terminal:");
        for engine in &party.engines {
            println!("  {enter}ip netns exec {} bash", engine.host().namespace());
        }
        println!("Ask an engine, create, join, leave:");
        for engine in &party.engines {
            println!(
                "  {enter}{} status --socket {}",
                engine.program().display(),
                engine.socket().display()
            );
        }
        println!(
            "The party's invite: {}\nEnter or Ctrl-C takes everything down.",
            party.invite
        );
    }

    /// Receives once somebody presses Ctrl-C or ends this program; the other end may say so as well.
    fn on_stop() -> Result<(mpsc::Sender<()>, mpsc::Receiver<()>)> {
        let (stop, stopped) = mpsc::channel();
        let enter = stop.clone();
        ctrlc::set_handler(move || {
            // Fails only when nobody waits any more.
            let _ = stop.send(());
        })
        .context("Ctrl-C can't be caught")?;
        Ok((enter, stopped))
    }

    /// An input that is at its end, as under a service, is not Enter.
    fn end_on_enter(stop: mpsc::Sender<()>) {
        thread::spawn(move || {
            let mut line = String::new();
            match io::stdin().read_line(&mut line) {
                Ok(0) | Err(_) => loop {
                    // Keeps its end of the channel.
                    thread::park();
                },
                Ok(_) => stop.send(()),
            }
        });
    }
}
