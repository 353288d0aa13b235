"""Import MONAI as the server does, without optional packages that it does not use.

It has to be the first import. Each worker and the fork server would import the optional packages otherwise.
"""

from otherwise.cli.quick_start import UNUSED_BY_SERVERS, import_monai_without

import_monai_without(UNUSED_BY_SERVERS)
