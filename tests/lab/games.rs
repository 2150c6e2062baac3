//! Games see their friends: unmodified servers of Debian's are found across two homes behind NATs, by the very questions
//! their players' programs send, through LANrage and not without it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::{
    Engine, Host, Internet, LOOKS, Lab, LanGame, Nat, PATIENCE, PublicServer, Site, SiteOptions, eventually,
    felt, scenario,
};

/// Two homes, each with an engine, and a server between them that knows the party.
struct Homes {
    _server: PublicServer,
    sites: Vec<Site>,
    engines: Vec<Engine>,
}

impl Homes {
    fn new(lab: &Lab, arguments: &[&str]) -> Result<Self> {
        let internet = Internet::new(lab)?;
        let server = PublicServer::start(&internet, &[])?;
        // Networks of different numbers, so that nobody's broadcast address is the other's as well.
        let sites = internet.sites(&[
            SiteOptions {
                subnet: 21,
                ..SiteOptions::new(Nat::PortRestrictedCone)
            },
            SiteOptions {
                subnet: 22,
                ..SiteOptions::new(Nat::PortRestrictedCone)
            },
        ])?;
        let engines = sites
            .iter()
            .zip(["Anna", "Tom"])
            .map(|(site, player)| server.engine(site.host()?, player, arguments))
            .collect::<Result<_>>()?;
        Ok(Self {
            _server: server,
            sites,
            engines,
        })
    }

    fn host(&self, site: usize) -> Result<&Host> {
        self.sites.get(site).context("no such site")?.host()
    }

    fn meet(&self) -> Result<()> {
        let created = self.engines[0].cli(&["create", "Friday night"])?;
        let id = created["id"].as_str().context("no ID")?;
        self.engines[1].cli(&["join", id])?;
        for engine in &self.engines {
            engine.wait_all_up(1, felt::CONNECT)?;
        }
        Ok(())
    }

    fn part(&self) -> Result<()> {
        self.engines[1].cli(&["leave"])?;
        self.engines[0].cli(&["leave"])?;
        Ok(())
    }
}

/// Who is found; looked for until then, at most as long as a busy machine may take.
fn found(game: LanGame, host: &Host, to: SocketAddrV4) -> Result<Option<SocketAddr>> {
    game.look(host, to, LOOKS * PATIENCE)
}

fn finds(game: LanGame, host: &Host, to: SocketAddrV4, expected: Ipv4Addr) -> Result<()> {
    let who = found(game, host, to)?.with_context(|| format!("{} is not found by {to}", game.name()))?;
    println!("{} answers {to} from {who}", game.name());
    ensure!(who.ip() == expected, "{} answers {to} from {who}", game.name());
    Ok(())
}

fn finds_nobody(game: LanGame, host: &Host, to: SocketAddrV4) -> Result<()> {
    let who = game.look(host, to, LOOKS)?;
    ensure!(
        who.is_none(),
        "{} answers {to} without LANrage, from {who:?}",
        game.name()
    );
    Ok(())
}

#[test]
fn real_games_find_each_other_across_homes_and_not_without_lanrage() -> Result<()> {
    scenario("real games", |lab| {
        let homes = Homes::new(lab, &[])?;
        let (player, host) = (homes.host(0)?, homes.host(1)?);
        // Before there is a party: what they listen on, and the groups they join, they have from then.
        let servers = LanGame::ALL
            .into_iter()
            .map(|game| game.serve(host))
            .collect::<Result<Vec<_>>>()?;
        for game in LanGame::ALL {
            finds_nobody(game, player, game.asks())?;
        }

        homes.meet()?;
        let lease = homes.engines[1].address()?;
        for game in LanGame::ALL {
            finds(game, player, game.asks(), lease)?;
        }
        // By the party's own broadcast address, as programs do that list the interfaces.
        let range = Ipv4Addr::new(10, 66, 255, 255);
        finds(LanGame::OpenArena, player, SocketAddrV4::new(range, 27960), lease)?;

        homes.engines[1].wait_until("its games are listed", felt::TOLD * 2, |status| {
            let games = status.0["games"].as_array().context("no list of games")?;
            let listed = |game: LanGame| {
                let address = format!("{lease}:{}", game.port());
                games
                    .iter()
                    .any(|listed| listed["name"] == game.name() && listed["address"] == *address)
            };
            Ok(games.len() == 3 && LanGame::ALL.into_iter().all(listed))
        })?;
        println!("{}", homes.engines[1].say(&["status"])?);

        homes.part()?;
        let games = &homes.engines[1].status()?.0["games"];
        ensure!(
            games.as_array().is_some_and(Vec::is_empty),
            "without a party: {games}"
        );
        for game in LanGame::ALL {
            finds_nobody(game, player, game.asks())?;
        }
        drop(servers);
        Ok(())
    })
}

#[test]
fn games_that_use_another_interface_are_captured() -> Result<()> {
    scenario("captured games", |lab| {
        let homes = Homes::new(lab, &[])?;
        let (player, host) = (homes.host(0)?, homes.host(1)?);
        let _server = LanGame::OpenTtd.serve(host)?;
        homes.meet()?;
        let lease = homes.engines[1].address()?;
        // As OpenTTD's own program does: to the broadcast address of each interface that has one, which a TUN has not.
        let octets = player.address().octets();
        let own_network = SocketAddrV4::new(Ipv4Addr::new(octets[0], octets[1], octets[2], 255), 3979);
        finds(LanGame::OpenTtd, player, own_network, lease)
    })
}

#[test]
fn without_its_route_multicast_stays_at_home_and_reaches_the_party_all_the_same() -> Result<()> {
    scenario("multicast not routed", |lab| {
        let homes = Homes::new(lab, &["--multicast-route", "off"])?;
        let (player, host) = (homes.host(0)?, homes.host(1)?);
        let _server = LanGame::Freeciv.serve(host)?;
        homes.meet()?;
        for engine in &homes.engines {
            let routes = engine.host().party_routes(engine.adapter())?;
            ensure!(
                !routes.iter().any(|route| route.starts_with("224.0.0.0/4")),
                "{routes:?}"
            );
        }
        let lease = homes.engines[1].address()?;
        finds(LanGame::Freeciv, player, LanGame::Freeciv.asks(), lease)
    })
}

#[test]
fn a_group_joined_before_the_party_is_heard_in_it() -> Result<()> {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 66, 7, 7);
    scenario("joined before", |lab| {
        let homes = Homes::new(lab, &[])?;
        let (sender, receiver) = (homes.host(0)?, homes.host(1)?);
        let ear = receiver.inside(|| {
            let ear = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 4000))?;
            ear.join_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED)?;
            ear.set_nonblocking(true)?;
            Ok(ear)
        })?;
        homes.meet()?;
        let voice = sender.inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
        let lease = homes.engines[0].address()?;
        eventually("the group is heard", felt::TOLD, || {
            voice.send_to(b"anybody?", (GROUP, 4000))?;
            let mut buffer = [0; 64];
            Ok(match ear.recv_from(&mut buffer) {
                Ok((_, from)) if from.ip() == lease => Ok(()),
                Ok((_, from)) => Err(format!("heard {from}")),
                Err(error) => Err(error.to_string()),
            })
        })?;
        let report = homes.engines[1].cli(&["doctor"])?;
        let changes = report["changes"].as_array().context("no changes")?;
        ensure!(
            changes
                .iter()
                .any(|change| change["what"] == "group" && change["group"] == "239.66.7.7"),
            "doctor does not say so: {changes:?}"
        );
        // The program leaves, and so does the engine.
        drop(ear);
        eventually("the group is left", Duration::from_secs(2), || {
            let joined = receiver.output("ip", &["maddress", "show", "dev", homes.engines[1].adapter()])?;
            Ok(if joined.contains("239.66.7.7") {
                Err(joined)
            } else {
                Ok(())
            })
        })
        .map(drop)
    })
}
