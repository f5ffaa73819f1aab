-- What a trial needs from its server: word that it is up, an end when the trial dies, and a log of every stanza.
--
-- Ready: one line on standard output, "ready" and the ports that are really open.
-- Leash: standard input is a pipe that the trial holds; its end means that the trial is gone, however it died.
-- Log: option jet_trial_log names a file; one stanza a line, as time, direction, JID and XML, tab between them.
module:set_global();

local filters = require "util.filters";
local now = require "util.time".now;
local portmanager = require "core.portmanager";
local server = require "net.server";

local path = module:get_option_string("jet_trial_log");
local log_file;

-- A line break inside a stanza would look like the end of its line.
local breaks = { ["\n"] = "&#10;", ["\r"] = "&#13;" };

-- What else passes is the stream's own: features, login, acknowledgements.
local stanzas = { iq = true, message = true, presence = true };

local function record(session, direction, stanza)
	if type(stanza) == "table" and stanzas[stanza.name] then
		local who = session.full_jid or session.from_host or session.host or "?";
		local xml = tostring(stanza):gsub("[\r\n]", breaks);
		log_file:write(("%.6f\t%s\t%s\t%s\n"):format(now(), direction, who, xml));
	end
	return stanza;
end

local function attach(session)
	filters.add_filter(session, "stanzas/in", function (stanza) return record(session, "in", stanza); end, 10);
	filters.add_filter(session, "stanzas/out", function (stanza) return record(session, "out", stanza); end, -10);
end

if path then
	log_file = assert(io.open(path, "a"));
	log_file:setvbuf("line");
	filters.add_filter_hook(attach);
end

function module.unload()
	if log_file then
		filters.remove_filter_hook(attach);
		log_file:close();
	end
end

module:hook_global("server-started", function ()
	local ports = {};
	for _, _, port in portmanager.get_active_services():iter(nil, nil, nil, nil) do
		table.insert(ports, tostring(math.tointeger(port) or port));
	end
	io.stdout:write("ready ", table.concat(ports, " "), "\n");
	io.stdout:flush();
	server.watchfd(0, function (leash)
		leash:close();
		prosody.main_thread:run(function () prosody.shutdown("The trial is gone"); end);
	end);
end);
