"""The demo's one HTML page: no outside resource, relative addresses, works under a root path."""

from typing import Final

PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>pounce</title>
<link rel="icon" href="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'
 viewBox='0 0 16 16'><text y='13' font-size='13'>🐾</text></svg>">
<style>
  :root { color-scheme: light dark; --ink: #1d2430; --paper: #f6f5f1; --card: #fff;
    --line: #dcd9d0; --soft: #6b7280; --accent: #c2571a; }
  @media (prefers-color-scheme: dark) { :root { --ink: #e8e6e0; --paper: #14171c; --card: #1c2027;
    --line: #2f353f; --soft: #9aa3b2; --accent: #f0935a; } }
  * { box-sizing: border-box }
  body { margin: 0; background: var(--paper); color: var(--ink);
    font: 16px/1.5 system-ui, sans-serif }
  main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem }
  h1 { margin: 0; font-size: 2.4rem; letter-spacing: -.03em }
  h1 i { color: var(--accent); font-style: normal }
  h2 { margin: 0 0 .6rem; font-size: 1rem }
  .grid { display: grid; gap: 1rem; margin-top: 1.75rem;
    grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)) }
  section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
    padding: 1.1rem 1.25rem }
  .soft, figcaption { color: var(--soft); font-size: .875rem }
  #clock { font: 600 2.6rem/1.1 ui-monospace, monospace; font-variant-numeric: tabular-nums }
  code, dd, li { font-family: ui-monospace, monospace; font-size: .875rem }
  dl { display: grid; grid-template-columns: auto 1fr; gap: .15rem 1rem; margin: 0 }
  dt { color: var(--soft) } dd { margin: 0 }
  button, input { font: inherit; color: inherit; border-radius: .5rem; padding: .35rem .8rem;
    border: 1px solid var(--line); background: transparent }
  button { background: var(--accent); border-color: var(--accent); color: #fff; cursor: pointer }
  #bars div { margin-top: .4rem; background: var(--accent); color: #fff; border-radius: .3rem;
    padding: 0 .5rem; font: .8rem/1.6 ui-monospace, monospace; white-space: nowrap;
    min-width: max-content }
  #talk { list-style: none; margin: 0 0 .6rem; padding: 0; height: 9rem; overflow-y: auto }
  #talk b { color: var(--accent) }
  form { display: flex; gap: .5rem } form input { flex: 1; min-width: 0 }
  a { color: var(--accent) }
</style>
<main>
  <h1>pounce<i>.</i></h1>
  <div class="soft">This page comes from the demo that is built into the server.</div>
  <div class="grid">
    <section><h2>Clock</h2>
      <div id="clock">--:--:--</div>
      <div class="soft" id="ticker">server-sent events from <code>/sse</code></div></section>
    <section><h2>Who answered</h2><dl id="who"></dl></section>
    <section><h2>Workers</h2>
      <button id="ask">Ask 60 times</button>
      <div id="bars" aria-live="polite"></div>
      <div class="soft">One bar for each worker process that answered.</div></section>
    <section><h2>Chat</h2>
      <ul id="talk" aria-live="polite"></ul>
      <form><input id="say" maxlength="500" placeholder="Say something" aria-label="Message"
        autocomplete="off" disabled><button disabled>Send</button></form>
      <div class="soft" id="chatnote">opening a WebSocket to <code>/chat</code></div></section>
  </div>
  <p class="soft">Also here: <a href="json">/json</a> <a href="whoami">/whoami</a>
    <a href="slow?s=2">/slow?s=2</a> <code>curl -d hello /echo</code></p>
</main>
<script>
  const $ = (id) => document.getElementById(id)
  const base = location.href.replace(/[?#].*$/, '').replace(/[^/]*$/, '')

  const clock = new EventSource(base + 'sse')
  clock.onmessage = ({ data }) => {
    const { time, pid } = JSON.parse(data)
    $('clock').textContent = time
    $('ticker').textContent = `told by worker process ${pid}`
  }

  const whoami = async () => (await fetch(base + 'whoami')).json()
  whoami().then((who) => {
    for (const [key, value] of Object.entries(who)) {
      const [dt, dd] = [document.createElement('dt'), document.createElement('dd')]
      dt.textContent = key.replaceAll('_', ' ')
      dd.textContent = Array.isArray(value) ? value.join(' : ') : value
      $('who').append(dt, dd)
    }
  })

  $('ask').onclick = async () => {
    $('ask').disabled = true
    const answers = {}
    await Promise.all(Array.from({ length: 60 }, async () => {
      const pid = await whoami().then((who) => who.pid, () => 'no answer')
      answers[pid] = (answers[pid] || 0) + 1
    }))
    $('bars').replaceChildren(...Object.entries(answers).map(([pid, times]) => {
      const bar = document.createElement('div')
      bar.style.width = `${times / 60 * 100}%`
      bar.textContent = `${pid}: ${times}`
      return bar
    }))
    $('ask').disabled = false
  }

  const [form, say, send] = [document.forms[0], $('say'), document.forms[0].lastElementChild]
  const talking = (on, note) => {
    say.disabled = send.disabled = !on
    $('chatnote').textContent = note
  }
  let opened = false
  const open = () => {
    const socket = new WebSocket(base.replace(/^http/, 'ws') + 'chat')
    socket.onopen = () => { opened = true; talking(true, 'in this room: the guests of one worker') }
    socket.onmessage = ({ data }) => {
      const said = JSON.parse(data)
      const line = document.createElement('li')
      const name = document.createElement('b')
      name.textContent = said.from
      line.append(name, ' ', said.text)
      $('talk').append(line)
      line.scrollIntoView({ block: 'nearest' })
      talking(true, `${said.here} here, in worker process ${said.pid}`)
    }
    socket.onclose = () => {
      talking(false, opened ? 'the WebSocket was closed; coming back' :
        'the WebSocket could not be opened, so the chat is off; all else works')
      if (opened) setTimeout(open, 1000)
    }
    form.onsubmit = (event) => {
      event.preventDefault()
      if (say.value.trim()) socket.send(say.value)
      say.value = ''
    }
  }
  open()
</script>
</html>
"""
