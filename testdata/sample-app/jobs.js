import { Ledger } from './ledger.js';

// startJobs runs a job every so many milliseconds, at the same moments in every
// process, as cron does: only its role keeps it from running twice. Each run is
// a line "moment slot pid" in the file.
export function startJobs(role, { slot, file, every }) {
  const ledger = new Ledger(file);
  let moment = Math.floor(Date.now() / every);
  const next = () => {
    moment = Math.max(moment, Math.floor(Date.now() / every)) + 1; // a timer may be early
    setTimeout(() => {
      if (role.isActive(moment * every)) ledger.add(`${moment} ${slot} ${process.pid}`);
      next();
    }, moment * every - Date.now()).unref();
  };
  next();
}
