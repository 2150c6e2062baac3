import { mount } from "svelte";
import App from "./App.svelte";
import "./app.css";
import { connect } from "./lib/bridge";
import { recall } from "./lib/look";
import { Session } from "./lib/session.svelte";

const target = document.getElementById("app");
if (target) {
  recall();
  const session = new Session();
  mount(App, { target, props: { session } });
  void connect(session);
}
