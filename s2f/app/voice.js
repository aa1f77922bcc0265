// A voice from the microphone of the browser, or from a file, sent to Python as the bytes of a sound file.
// They go as a message and are no state of the widget, so that no notebook keeps them.

const MAX_SECONDS = 30; // as much of a voice as counts (LONGEST_SECONDS)
const MAX_BYTES = 8_000_000; // a message may have 10 MB; of a longer file the beginning is enough

// Runs on the audio thread and hands on each block of samples.
const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input[0].slice());
    return true;
  }
});`;

// Everything that improves speech for people on the telephone changes the voice.
const AS_IT_IS = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Starts listening; returns a function that stops and gives the sound as a WAV file. */
async function listen(onBlock) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: AS_IT_IS });
  const context = new AudioContext();
  await context.resume();
  const module = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
  await context.audioWorklet.addModule(module);
  URL.revokeObjectURL(module);
  const blocks = [];
  const tap = new AudioWorkletNode(context, "tap");
  tap.port.onmessage = ({ data }) => {
    blocks.push(data);
    onBlock(data, context.sampleRate);
  };
  context.createMediaStreamSource(stream).connect(tap).connect(context.destination); // the tap puts out silence
  return () => {
    stream.getTracks().forEach((track) => track.stop());
    const file = wav(blocks, context.sampleRate);
    context.close();
    return file;
  };
}

/** A WAV file: mono, 16 bits. */
function wav(blocks, rate) {
  const samples = blocks.reduce((sum, block) => sum + block.length, 0);
  const file = new DataView(new ArrayBuffer(44 + 2 * samples));
  const text = (place, letters) => [...letters].forEach((letter, i) => file.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  file.setUint32(4, 36 + 2 * samples, true);
  text(8, "WAVEfmt ");
  file.setUint32(16, 16, true); // bytes of the format
  file.setUint16(20, 1, true); // PCM
  file.setUint16(22, 1, true); // channels
  file.setUint32(24, rate, true);
  file.setUint32(28, 2 * rate, true); // bytes a second
  file.setUint16(32, 2, true); // bytes a sample
  file.setUint16(34, 16, true); // bits
  text(36, "data");
  file.setUint32(40, 2 * samples, true);
  let place = 44;
  for (const block of blocks) {
    for (const sample of block) {
      file.setInt16(place, Math.max(-1, Math.min(1, sample)) * 32767, true);
      place += 2;
    }
  }
  return file.buffer;
}

function element(kind, attributes, ...children) {
  const made = Object.assign(document.createElement(kind), attributes);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  const record = element("button", { className: "s2f-record", type: "button", textContent: "Record" });
  const file = element("input", { type: "file", accept: "audio/*,.flac,.caf,.w64,.rf64" });
  const choose = element("label", { className: "s2f-file" }, "Choose a sound file", file);
  const level = element("meter", { className: "s2f-level", min: -60, max: 0, low: -45, high: -3, optimum: -20, value: -60 });
  const state = element("span", { className: "s2f-state", textContent: model.get("hint") });
  state.setAttribute("role", "status");
  level.setAttribute("aria-label", "level of the microphone");
  const player = element("audio", { className: "s2f-player", controls: true, hidden: true });
  el.classList.add("s2f-voice");
  el.append(element("div", { className: "s2f-row" }, record, choose, level, state), player);

  let stop = null;
  let busy = false;

  function send(sound, name) {
    URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(new Blob([sound]));
    player.hidden = false;
    state.textContent = `${name}: finding the speech in it ...`;
    model.send({ name }, undefined, [sound]);
  }

  function finish() {
    if (!stop) return;
    const sound = stop();
    stop = null;
    record.textContent = "Record again";
    record.classList.remove("s2f-on");
    level.value = -60;
    send(sound, "Your recording");
  }

  async function start() {
    let samples = 0;
    busy = true;
    try {
      stop = await listen((block, rate) => {
        samples += block.length;
        const power = block.reduce((sum, sample) => sum + sample * sample, 0) / block.length;
        level.value = 10 * Math.log10(power + 1e-6);
        state.textContent = `${(samples / rate).toFixed(1)} s (6 s or more is best)`;
        if (samples >= MAX_SECONDS * rate) finish();
      });
      record.textContent = "Stop";
      record.classList.add("s2f-on");
    } catch (error) {
      const secure = window.isSecureContext ? "allow it for this page, or choose a file" : "open the page as localhost";
      state.textContent = `The browser gives no microphone (${error.name || error}): ${secure}.`;
    }
    busy = false;
  }

  record.onclick = () => (stop ? finish() : busy || start());
  file.onchange = async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    file.value = ""; // so that the same file can be chosen again
    send(await chosen.slice(0, MAX_BYTES).arrayBuffer(), chosen.name);
  };
  const show = ({ answer }) => (state.textContent = answer);
  model.on("msg:custom", show);
  return () => {
    model.off("msg:custom", show);
    if (stop) stop();
    URL.revokeObjectURL(player.src);
  };
}

export default { render };
