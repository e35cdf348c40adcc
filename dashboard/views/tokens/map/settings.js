// The few settings that change with alpha, the filter and the axes. They stand on the window, where the map finds them
// in whichever order the two arrive; the tokens themselves are not sent again for them.

export default function mount({ data }) {
  window.kslotteryTokenMap = data;
  window.dispatchEvent(new CustomEvent("kslottery:token-map"));
  return () => { if (window.kslotteryTokenMap === data) delete window.kslotteryTokenMap; };
}
