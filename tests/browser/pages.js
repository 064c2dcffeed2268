// Every page of the administration in Chromium: after the wizard of the first run, signed in by hand, with and without
// JavaScript, wide and on a phone, light and dark, in both languages. axe-core must find nothing; no page may scroll
// sideways; the console must stay empty.
//
// CODE=... node pages.js CHROMIUM [FOLDER], with the code of a gateway without an owner: with a folder, pictures of all
// pages are put there.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [executablePath, pictures] = process.argv.slice(2);
const site = "https://admin.office.example:8080";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const password = "blue harbour 47";
const wide = { width: 1280, height: 900 };
const phone = { width: 375, height: 812 };
const problems = [];

function expect(holds, what) {
  if (!holds) problems.push(what);
}

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--host-resolver-rules=MAP *.office.example 192.168.1.1"],
});

// A window whose pages report what goes wrong in them.
async function open(name, options) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: "en-GB", ...options });
  const page = await context.newPage();
  page.on("console", (message) => problems.push(`${name}: the console says: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(`${name}: ${error}`));
  return { name, page, hasScript: options.javaScriptEnabled !== false, close: () => context.close() };
}

async function signIn({ page }, at = site) {
  await page.goto(at);
  // By the keyboard alone: the name has no focus yet.
  await page.locator("#name").focus();
  await page.keyboard.type("olga");
  await page.keyboard.press("Tab");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
  await page.waitForURL(`${at}/`);
}

// The pages of the menu.
function menu(page) {
  return page.locator("nav a").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
}

// Looks at the page that is open.
async function inspect({ name, page }, what) {
  const title = `${name} ${what}`;
  const { scroll, width } = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth,
    width: document.documentElement.clientWidth,
  }));
  expect(scroll <= width, `${title}: it is ${scroll} wide and scrolls in ${width}`);
  if (pictures) await page.screenshot({ path: `${pictures}/${title.replaceAll(" ", "-")}.png`, fullPage: true });
}

// Without JavaScript axe-core does not run either.
async function audit({ name, page, hasScript }, what) {
  if (!hasScript) return;
  // The page's own policy forbids scripts of others: the protocol's evaluation is not a page's script.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  for (const { id, help, nodes } of violations) {
    problems.push(`${name} ${what}: ${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
  }
}

// The wizard of the first run, with a step back: from the code to the owner, who is signed in then.
async function firstRun(code) {
  const window = await open("first run", { viewport: phone });
  const { page } = window;
  const look = async (what) => {
    await inspect(window, what);
    await audit(window, what);
  };
  const goOn = async (what, path) => {
    await look(what);
    await page.locator("main button").click();
    await page.waitForURL(`${site}${path}`);
  };
  await page.goto(site);
  await page.waitForURL(`${site}/setup`);
  await look("code");
  await page.fill("#code", code.toLowerCase());
  await page.locator("main button").click();
  await page.fill("#full_name", "Olga Example");
  await page.fill("#name", "olga");
  await page.fill("#password", password);
  await page.fill("#again", password);
  await goOn("owner", "/setup/internet");
  await goOn("internet", "/setup/network");
  await page.getByRole("link", { name: "Back" }).click();
  await page.waitForURL(`${site}/setup/internet`);
  await goOn("internet again", "/setup/network");
  await goOn("network", "/setup/names");
  await goOn("names", "/setup/mail");
  await page.check("#mail-no");
  await goOn("mail", "/setup/summary");
  await goOn("summary", "/check");
  await look("check");
  expect(await page.getByText("Olga Example, owner").isVisible(), "first run: the owner is not signed in");
  await window.close();
}

await firstRun(process.env.CODE);

for (const [name, options] of [
  ["wide light", { viewport: wide, colorScheme: "light" }],
  ["wide dark", { viewport: wide, colorScheme: "dark" }],
  ["phone light", { viewport: phone, colorScheme: "light", hasTouch: true, isMobile: true }],
  ["phone dark", { viewport: phone, colorScheme: "dark", hasTouch: true, isMobile: true }],
  ["plain phone", { viewport: phone, colorScheme: "light", javaScriptEnabled: false }],
  ["german phone", { viewport: phone, colorScheme: "light", locale: "de-DE" }],
]) {
  const window = await open(name, options);
  const { page } = window;
  await page.goto(site);
  await inspect(window, "sign-in");
  await audit(window, "sign-in");
  await page.goto(`${site}/forgotten`);
  await inspect(window, "forgotten");
  await audit(window, "forgotten");
  await signIn(window);
  // Beside the menu: forms that a page leads to, and none.
  const others = ["/forwards?new", "/users?new", "/users?password=olga", "/me", "/check", "/none"];
  for (const path of [...(await menu(page)), ...others]) {
    if (path === "/none") page.removeAllListeners("console"); // A missing page is told there, and meant.
    await page.goto(`${site}${path}`);
    const what = path === "/" ? "status" : path.slice(1).replace(/\W/g, "-");
    await inspect(window, what);
    await audit(window, what);
  }
  const language = name.startsWith("german") ? "de" : "en";
  expect((await page.getAttribute("html", "lang")) === language, `${name}: the page is not in ${language}`);
  await window.close();
}

// Without JavaScript: the menu, a session ended, and signed out.
const plain = await open("plain", { viewport: phone, javaScriptEnabled: false });
await signIn(plain);
const links = plain.page.locator("nav a");
for (let at = 0; at < (await links.count()); at++) {
  const name = await links.nth(at).innerText();
  await links.nth(at).click();
  await plain.page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
}
await plain.page.getByRole("link", { name: "Sessions" }).click();
await plain.page.getByRole("heading", { level: 1, name: "Sessions" }).waitFor();
const rows = plain.page.getByRole("row");
const before = await rows.count();
expect(before > 2, "plain: the sessions of the other windows are listed");
await rows.nth(before - 1).getByRole("button").click();
await plain.page.waitForURL(`${site}/sessions`);
expect((await rows.count()) === before - 1, "plain: a session can be ended");
await plain.page.getByRole("button", { name: "Sign out" }).click();
await plain.page.waitForURL(`${site}/sign-in`);
await plain.close();

// What a wrong password is answered.
const wrong = await open("wrong", { viewport: phone, javaScriptEnabled: true });
await wrong.page.goto(site);
wrong.page.removeAllListeners("console"); // The refusal's status is told there.
await wrong.page.fill("#name", "olga");
await wrong.page.fill("#password", "wrong");
await wrong.page.getByRole("button").click();
await wrong.page.getByRole("alert").waitFor();
await inspect(wrong, "password");
await audit(wrong, "password");
expect((await wrong.page.inputValue("#name")) === "olga", "wrong: the name is kept");
expect((await wrong.page.inputValue("#password")) === "", "wrong: the password is not");
await wrong.close();

// The address on the LAN changes, and the browser gets through: with JavaScript from the name's, and without from there.
let here = site;
for (const [name, options, host] of [
  ["moves", { viewport: wide }, "192.168.1.2"],
  ["moves plain", { viewport: phone, javaScriptEnabled: false }, "192.168.1.3"],
]) {
  const window = await open(name, options);
  const { page } = window;
  const there = `https://${host}:8080`;
  const look = async (what) => {
    await inspect(window, what);
    await audit(window, what);
  };
  await signIn(window, here);
  await page.goto(`${here}/network`);
  page.removeAllListeners("console"); // The refusal's status is told there.
  const address = page.getByLabel("Address of the gateway in the office");
  await address.fill(host);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("alert").waitFor();
  expect((await address.inputValue()) === host, `${name}: what was entered is kept`);
  await look("fault");
  await address.fill(`${host}/24`);
  await page.getByRole("button", { name: "Save" }).click();
  await page.waitForURL(`${here}/changes`);
  await look("waiting");
  await page.getByRole("button", { name: "Apply on trial" }).click();
  await page.getByRole("link", { name: `Go on at ${there}` }).waitFor();
  await look("trial");
  await page.getByRole("link", { name: `Go on at ${there}` }).click();
  await page.waitForURL(`${there}/enter?*`);
  await look("enter");
  await page.getByRole("button", { name: "Go on" }).click();
  await page.waitForURL(`${there}/`);
  await page.getByRole("button", { name: "Keep the change" }).click();
  await page.waitForURL(`${there}/changes`);
  await page.getByRole("heading", { name: "No change waits" }).waitFor();
  await look("kept");
  await window.close();
  here = there;
}

await browser.close();
for (const problem of problems) console.error(`browser: ${problem}`);
if (problems.length > 0) process.exit(1);
console.log("browser: every page is right");
